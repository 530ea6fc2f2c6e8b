//! The signals that end a process: the thread they are handled on, and what a forked process does
//! about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::own_threads;

static HANDLED: AtomicBool = AtomicBool::new(false);

/// Has `callback` called on Ctrl-C (SIGINT), SIGTERM and SIGHUP, on a thread kept for it.
pub(crate) fn handle(callback: fn()) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        own_threads::work(callback);
    })?;
    own_threads::started();
    HANDLED.store(true, Ordering::SeqCst);
    Ok(())
}

/// In a process that was forked, and has no such thread: whether its parent has one.
#[cfg(feature = "fork")]
pub(crate) fn leave_to_parent() -> bool {
    HANDLED.swap(false, Ordering::SeqCst)
}

/// What a forked process does when it is told that the server shuts down.
static ON_TOLD: Mutex<Option<Arc<dyn Fn() + Send + Sync>>> = Mutex::new(None);
static TOLD: AtomicBool = AtomicBool::new(false);

#[cfg(feature = "fork")]
pub(crate) fn when_told(act: impl Fn() + Send + Sync + 'static) {
    *ON_TOLD.lock() = Some(Arc::new(act));
}

/// Safe in a signal handler.
#[cfg(feature = "fork")]
pub(crate) fn tell() {
    TOLD.store(true, Ordering::SeqCst);
}

/// Called where a system call was interrupted, and where somebody asks.
pub(crate) fn heed() {
    if TOLD.load(Ordering::Relaxed) && TOLD.swap(false, Ordering::SeqCst) {
        let act = ON_TOLD.lock().clone();
        if let Some(act) = act {
            act();
        }
    }
}
