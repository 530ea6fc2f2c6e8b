//! The signals that end a process: the one thread they are handled on, and what a forked process does
//! about them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

static HANDLED: AtomicBool = AtomicBool::new(false);

/// Held while a signal is handled. Not of `parking_lot`, whose locks know of threads that a forked
/// process does not have.
static TURN: Mutex<()> = Mutex::new(());

/// Has `callback` called on Ctrl-C (SIGINT), SIGTERM and SIGHUP, on a thread kept for it.
pub(crate) fn handle(callback: fn()) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        let _turn = turn();
        callback();
    })?;
    HANDLED.store(true, Ordering::SeqCst);
    Ok(())
}

/// Whether there is such a thread.
#[cfg(feature = "fork")]
pub(crate) fn are_handled() -> bool {
    HANDLED.load(Ordering::SeqCst)
}

/// While it is held, no signal is being handled.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a forked process does when it is told that the server shuts down.
static ON_TOLD: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();
static TOLD: AtomicBool = AtomicBool::new(false);

#[cfg(feature = "fork")]
pub(crate) fn when_told(act: impl Fn() + Send + Sync + 'static) {
    let _ = ON_TOLD.set(Box::new(act));
}

/// Safe in a signal handler.
#[cfg(feature = "fork")]
pub(crate) fn tell() {
    TOLD.store(true, Ordering::SeqCst);
}

/// Called where a system call was interrupted, and where somebody asks.
pub(crate) fn heed() {
    if TOLD.load(Ordering::Relaxed) && TOLD.swap(false, Ordering::SeqCst) {
        if let Some(act) = ON_TOLD.get() {
            act();
        }
    }
}
