//! The threads that the library keeps for itself, one for signals and one for deadlines. They work in
//! turns, and rest while the process forks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::contain;
#[cfg(feature = "fork")]
use crate::timer;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Not of `parking_lot`, whose locks know of threads that a forked process does not have.
static TURN: Mutex<()> = Mutex::new(());

/// What one of them does, when it is its turn. It survives a panic: what it calls may log, through a
/// logger of the program's own.
pub(crate) fn work<T>(act: impl FnOnce() -> T) -> Option<T> {
    let _turn = turn();
    contain(act)
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There is one more.
pub(crate) fn started() {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

/// While it is held they rest, and the timer is not started.
#[cfg(feature = "fork")]
pub(crate) struct Rest {
    _turn: MutexGuard<'static, ()>,
    alarms: timer::Held,
}

#[cfg(feature = "fork")]
impl Rest {
    pub(crate) fn begin() -> Self {
        Rest {
            _turn: turn(),
            alarms: timer::hold(),
        }
    }

    /// How many rest.
    pub(crate) fn count(&self) -> usize {
        COUNT.load(Ordering::SeqCst)
    }

    /// In a process that was forked: it has none of them, and is told of no time that was set before.
    pub(crate) fn forget(&mut self) {
        COUNT.store(0, Ordering::SeqCst);
        self.alarms.forget();
    }
}
