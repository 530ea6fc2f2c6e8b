//! SIGUSR2 and SIGHUP, by the crate `signal-hook`: with `ctrlc` they would do what SIGTERM does.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use parking_lot::Mutex;
use signal_hook::iterator::{Handle, Signals};

use super::fork_lock;
use super::signals::{HANDLED, is_ignored};

/// `None` until the first signal is registered.
static THREAD: Mutex<Option<Handle>> = Mutex::new(None);

/// Whether SIGHUP is one of them.
static RELOADS: AtomicBool = AtomicBool::new(false);

/// Calls `on_reload` on SIGHUP instead of ending the process, unless the signal is ignored.
pub(crate) fn on_sighup(on_reload: fn()) -> io::Result<()> {
    if is_ignored(libc::SIGHUP) || RELOADS.load(Ordering::SeqCst) {
        return Ok(());
    }
    if HANDLED.load(Ordering::SeqCst) {
        // Otherwise `signal-hook` would call the handler before, too.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
    }
    on(libc::SIGHUP, on_reload)?;
    RELOADS.store(true, Ordering::SeqCst);
    Ok(())
}

pub(crate) fn on_sigusr2(callback: fn()) -> io::Result<()> {
    on(libc::SIGUSR2, callback)
}

/// Restores what `ctrlc` has replaced.
pub(super) fn keep_reload(before: &libc::sigaction) {
    if RELOADS.load(Ordering::SeqCst) {
        // SAFETY: it is the action that was installed before.
        unsafe { libc::sigaction(libc::SIGHUP, before, ptr::null_mut()) };
    }
}

fn on(signal: libc::c_int, callback: fn()) -> io::Result<()> {
    CALLBACKS.lock().push((signal, callback));
    let mut thread = THREAD.lock();
    if let Some(thread) = &*thread {
        return thread.add_signal(signal);
    }
    let mut signals = Signals::new([signal])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(call))?;
    fork_lock::thread_started();
    *thread = Some(handle);
    Ok(())
}

static CALLBACKS: Mutex<Vec<Callback>> = Mutex::new(Vec::new());

type Callback = (libc::c_int, fn());

fn call(signal: libc::c_int) {
    let callbacks = CALLBACKS.lock();
    let found = callbacks.iter().find(|(of, _)| *of == signal);
    let callback = found.map(|(_, callback)| *callback);
    drop(callbacks);
    if let Some(callback) = callback {
        callback();
    }
}
