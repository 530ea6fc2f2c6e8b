//! The threads that the library keeps for itself, one for signals and one for deadlines. They work in
//! turns, and rest while the process forks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(feature = "fork")]
use crate::timer;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Not of `parking_lot`, whose locks know of threads that a forked process does not have.
static TURN: Mutex<()> = Mutex::new(());

/// Held while one of them does anything.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There is one more.
pub(crate) fn started() {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

/// While it is held, all of them rest and none is started.
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
