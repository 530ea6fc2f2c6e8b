//! The lock between the library's own threads (one for signals, one for timers) and `fork`: they work
//! only while they hold it, so that none is in the middle of something when the process forks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::catch_silently;

/// How many such threads there are.
pub(super) static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A `std` lock: those of `parking_lot` keep lists of waiting threads, which a forked process does not
/// have.
static LOCK: Mutex<()> = Mutex::new(());

/// Runs a piece of work of such a thread. Returns `None` if it panics: it may log, through a logger of
/// the program's own.
pub(crate) fn run<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _held = lock();
    catch_silently(work)
}

pub(super) fn lock() -> MutexGuard<'static, ()> {
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one more of these threads.
pub(crate) fn thread_started() {
    THREADS.fetch_add(1, Ordering::SeqCst);
}
