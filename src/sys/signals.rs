//! The signals that end a process: SIGINT, SIGTERM and SIGHUP.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::fork_lock;

/// Whether this process handles them.
pub(super) static HANDLED: AtomicBool = AtomicBool::new(false);

/// Calls `callback` on Ctrl-C (SIGINT), SIGTERM and SIGHUP, on a thread of its own. SIGINT and SIGHUP stay
/// ignored if they are.
pub(crate) fn on_termination(callback: fn()) -> Result<(), ctrlc::Error> {
    // `nohup` and shells start programs with these ignored. SIGTERM always ends a server.
    let ignored = [libc::SIGINT, libc::SIGHUP].map(|signal| (signal, is_ignored(signal)));
    #[cfg(feature = "restart")]
    let reload = action(libc::SIGHUP);
    ctrlc::set_handler(move || {
        fork_lock::run(callback);
    })?;
    for (signal, _) in ignored.into_iter().filter(|(_, ignored)| *ignored) {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    #[cfg(feature = "restart")]
    super::other_signals::keep_reload(&reload);
    fork_lock::thread_started();
    HANDLED.store(true, Ordering::SeqCst);
    Ok(())
}

pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    action(signal).sa_sigaction == libc::SIG_IGN
}

fn action(signal: libc::c_int) -> libc::sigaction {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action it only writes the current one, and zeroes are a valid action.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
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
