//! Processes: to start one, to ask after it, and to be one.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
pub(crate) use nix::unistd::Pid;
use nix::unistd::{self, ForkResult};

use crate::own_threads::Rest;
use crate::signals;

pub(crate) enum Forked {
    Child,
    Parent(Pid),
}

/// Starts a copy of this process, which has this thread only.
///
/// In the child Ctrl-C and SIGHUP are for the parent to heed, if it does, and SIGTERM means that the
/// server shuts down.
pub(crate) fn fork(mut rest: Rest) -> io::Result<Forked> {
    // A child that is told to end before it can heed it would die.
    let sigterm = SigSet::from(Signal::SIGTERM);
    let before = sigterm.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: the caller has seen to it that there is no other thread, or answers for it; those of the
    // library rest.
    let forked = unsafe { unistd::fork() };
    if let Ok(ForkResult::Child) = forked {
        rest.forget();
        leave_signals_to_parent();
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

/// Handlers of its own, even where a signal is to do nothing: a program that the child starts does not
/// inherit these, and can be interrupted.
fn leave_signals_to_parent() {
    // Without SA_RESTART: a blocked read is to notice.
    handle(Signal::SIGTERM, on_sigterm, SaFlags::empty());
    if signals::leave_to_parent() {
        for ignored in [Signal::SIGINT, Signal::SIGHUP] {
            handle(ignored, on_ignored, SaFlags::SA_RESTART);
        }
    }
}

fn handle(signal: Signal, handler: extern "C" fn(libc::c_int), flags: SaFlags) {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: both handlers are safe at any time: one stores to an atomic, the other does nothing.
    let _ = unsafe { signal::sigaction(signal, &action) };
}

extern "C" fn on_sigterm(_: libc::c_int) {
    signals::tell();
}

extern "C" fn on_ignored(_: libc::c_int) {}

/// Once it has been heeded, SIGTERM says nothing new, and would break off system calls.
pub(crate) fn ignore_sigterm() {
    // SAFETY: there is no handler to be unsafe.
    let _ = unsafe { signal::signal(Signal::SIGTERM, SigHandler::SigIgn) };
}

/// Ends this process as a child ends: nothing is flushed or dropped that the parent has too.
pub(crate) fn exit(success: bool) -> ! {
    // SAFETY: it does not return, so nobody sees what was left undone.
    unsafe { libc::_exit(i32::from(!success)) }
}

/// How a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    NotYet,
    /// With this status.
    Exited(i32),
    Killed(Signal),
    /// Somebody else has waited for it.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::NotYet => f.write_str("is running"),
            End::Exited(status) => write!(f, "exited with status {status}"),
            End::Killed(signal) => write!(f, "was killed by {signal}"),
            End::Unknown => f.write_str("was waited for by somebody else"),
        }
    }
}

/// Takes leave of a child if it has ended.
pub(crate) fn try_wait(child: Pid) -> End {
    match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, status)) => End::Exited(status),
        Ok(WaitStatus::Signaled(_, signal, _)) => End::Killed(signal),
        Ok(_) | Err(Errno::EINTR) => End::NotYet,
        Err(_) => End::Unknown,
    }
}

/// Tells a child that the server shuts down. It lives, or has ended and not been waited for, so that
/// nobody else has its number.
pub(crate) fn tell(child: Pid) {
    let _ = signal::kill(child, Signal::SIGTERM);
}

/// Ends a child.
pub(crate) fn kill(child: Pid) {
    let _ = signal::kill(child, Signal::SIGKILL);
}

/// Puts nothing in a descriptor's place. It stays open, so whoever owns it may go on to.
pub(crate) fn blind(descriptor: RawFd) {
    match File::open("/dev/null") {
        // SAFETY: both are open, and what the second stood for is not used any more in this process.
        Ok(nothing) => unsafe { libc::dup2(nothing.as_raw_fd(), descriptor) },
        // SAFETY: as before. Its owner is never dropped here, for a child leaves by `_exit`.
        Err(_) => unsafe { libc::close(descriptor) },
    };
}
