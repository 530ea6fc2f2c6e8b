//! The signals that end a process: SIGINT, SIGTERM and SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::fork_lock;

/// Whether this process handles them.
pub(super) static HANDLED: AtomicBool = AtomicBool::new(false);

/// Calls `callback` on Ctrl-C (SIGINT), SIGTERM and SIGHUP, on a thread of its own.
pub(crate) fn on_termination(callback: fn()) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        fork_lock::run(callback);
    })?;
    fork_lock::thread_started();
    HANDLED.store(true, Ordering::SeqCst);
    Ok(())
}

/// What a forked process does on SIGTERM. It has no thread for signals.
pub(super) static ON_SIGTERM: Mutex<Option<Arc<dyn Fn() + Send + Sync>>> = Mutex::new(None);
pub(super) static SIGTERM_PENDING: AtomicBool = AtomicBool::new(false);

/// Acts on a SIGTERM that a forked process has received. Called where a system call was interrupted,
/// and where a handler asks whether the server shuts down.
pub(crate) fn run_pending() {
    if SIGTERM_PENDING.load(Ordering::Relaxed) && SIGTERM_PENDING.swap(false, Ordering::SeqCst) {
        let action = ON_SIGTERM.lock().clone();
        if let Some(action) = action {
            action();
        }
    }
}
