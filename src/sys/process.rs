//! Processes: forking one, signalling it, reaping it, and ending as one.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
pub(crate) use nix::unistd::Pid;
use nix::unistd::{self, ForkResult};

use super::timer::{self, Timers};
use super::{fork_lock, poll_thread, signals};

/// While it is held, the library's own threads do not work, and none is started.
pub(crate) struct ForkGuard {
    _lock: MutexGuard<'static, ()>,
    timers: MutexGuard<'static, Timers>,
    watched: MutexGuard<'static, poll_thread::State>,
}

impl ForkGuard {
    pub(crate) fn lock() -> Self {
        ForkGuard {
            _lock: fork_lock::lock(),
            timers: timer::lock(),
            watched: poll_thread::lock(),
        }
    }

    /// How many threads of the library wait meanwhile.
    pub(crate) fn threads(&self) -> usize {
        fork_lock::THREADS.load(Ordering::SeqCst)
    }

    /// In a forked process: it has none of these threads.
    fn reset(&mut self) {
        fork_lock::THREADS.store(0, Ordering::SeqCst);
        self.timers.reset();
        self.watched.reset();
    }
}

pub(crate) enum Forked {
    Child,
    Parent(Pid),
}

/// Starts a copy of this process, with the calling thread only.
///
/// In the child SIGTERM means that the server shuts down. Ctrl-C and SIGHUP do nothing there if the
/// parent handles them.
pub(crate) fn fork(mut guard: ForkGuard) -> io::Result<Forked> {
    // Before its handler is set, SIGTERM would kill the child.
    let sigterm = SigSet::from(Signal::SIGTERM);
    let before = sigterm.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: the caller has made sure that there is no other thread, or the program has promised that
    // it copes (`Fork::beside_threads`). The library's own threads are stopped by the guard.
    let forked = unsafe { unistd::fork() };
    if let Ok(ForkResult::Child) = forked {
        guard.reset();
        set_child_handlers();
        let _ = sigterm.thread_unblock();
    } else {
        // Cannot fail, and there is a child.
        let _ = before.thread_set_mask();
    }
    match forked? {
        ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        ForkResult::Child => Ok(Forked::Child),
    }
}

/// Installs handlers also for signals that do nothing: a program that the child starts does not inherit
/// handlers, and can be interrupted. Signals that are ignored stay ignored, there too.
fn set_child_handlers() {
    // Without SA_RESTART, so that a blocked read is interrupted.
    set_handler(Signal::SIGTERM, on_sigterm, SaFlags::empty());
    if signals::HANDLED.swap(false, Ordering::SeqCst) {
        for signal in [Signal::SIGINT, Signal::SIGHUP] {
            if !signals::is_ignored(signal as libc::c_int) {
                set_handler(signal, do_nothing, SaFlags::SA_RESTART);
            }
        }
    }
}

fn set_handler(signal: Signal, handler: extern "C" fn(libc::c_int), flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: both handlers are safe at any time: one stores to an atomic, the other does nothing.
    let _ = unsafe { signal::sigaction(signal, &action) };
}

extern "C" fn on_sigterm(_: libc::c_int) {
    signals::SIGTERM_PENDING.store(true, Ordering::SeqCst);
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Sets the action of a forked process for SIGTERM. It runs once, because SIGTERM is ignored after it.
pub(crate) fn once_on_sigterm(action: impl Fn() + Send + Sync + 'static) {
    *signals::ON_SIGTERM.lock() = Some(Arc::new(move || {
        ignore_sigterm();
        action();
    }));
}

/// A second SIGTERM has no meaning, and would interrupt system calls.
fn ignore_sigterm() {
    // SAFETY: no handler is installed.
    let _ = unsafe { signal::signal(Signal::SIGTERM, SigHandler::SigIgn) };
}

/// Ends this process as a child ends: nothing is flushed or dropped that the parent has too.
pub(crate) fn exit(success: bool) -> ! {
    // SAFETY: it does not return, so no code sees a half-dropped state.
    unsafe { libc::_exit(i32::from(!success)) }
}

/// Whether and how a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitState {
    Running,
    /// With this status.
    Exited(i32),
    Killed(Signal),
    /// Somebody else has waited for it.
    Unknown,
}

impl fmt::Display for ExitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitState::Running => f.write_str("is running"),
            ExitState::Exited(status) => write!(f, "exited with status {status}"),
            ExitState::Killed(signal) => write!(f, "was killed by {signal}"),
            ExitState::Unknown => f.write_str("was reaped by other code of this program"),
        }
    }
}

/// Reaps a child if it has ended. Never blocks.
pub(crate) fn try_reap(child: Pid) -> ExitState {
    match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, status)) => ExitState::Exited(status),
        Ok(WaitStatus::Signaled(_, signal, _)) => ExitState::Killed(signal),
        Ok(_) | Err(Errno::EINTR) => ExitState::Running,
        Err(_) => ExitState::Unknown,
    }
}

/// The child runs or is not reaped yet, so no other process has its number.
pub(crate) fn send_sigterm(child: Pid) {
    let _ = signal::kill(child, Signal::SIGTERM);
}

pub(crate) fn send_sigkill(child: Pid) {
    let _ = signal::kill(child, Signal::SIGKILL);
}

/// Replaces the file of a descriptor. The number stays open, so its owner may close it later.
pub(crate) fn replace_with_dev_null(descriptor: RawFd) {
    match File::open("/dev/null") {
        // SAFETY: both are open, and this process no longer uses the file of the second.
        Ok(null) => unsafe { libc::dup2(null.as_raw_fd(), descriptor) },
        // SAFETY: as above. Its owner is never dropped here: a child ends by `_exit`.
        Err(_) => unsafe { libc::close(descriptor) },
    };
}
