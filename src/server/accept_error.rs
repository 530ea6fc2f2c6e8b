use std::io;
use std::mem;
use std::time::{Duration, Instant};

use crate::Address;

/// What the server does after an error from [`Listener::accept`](crate::Listener::accept).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AfterError {
    /// Sleep until the descriptor is readable: nobody is there.
    Wait,
    /// Accept again at once: the error was that one client's.
    Retry,
    /// Pause, twice as long each time, and accept again: the system is short of something.
    BackOff,
    /// End `serve_forever` with the error: the listening socket itself is no good.
    Stop,
}

/// Decides what follows an error from `accept`.
///
/// | error | then |
/// |---|---|
/// | `EAGAIN` | wait |
/// | `EINTR`; `ECONNABORTED`, `ECONNRESET`, `ECONNREFUSED`, `EPERM`, `ETIMEDOUT`: the client has gone, or a firewall stopped it; `ENETDOWN`, `ENETUNREACH`, `EHOSTUNREACH`: network errors waiting on the new socket, which accept(2) says to treat like `EAGAIN` | retry |
/// | `EBADF`, `EINVAL`, `ENOTSOCK`, `EOPNOTSUPP`, `EFAULT`: not a listening socket (any more) | stop |
/// | `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, and all that is not known here | back off |
///
/// A pause is 5 ms at first and 1 s at most; the first success ends it. So a server at its
/// descriptor limit uses next to no processor time, and goes on by itself when descriptors are
/// free. A [`Listener`](crate::Listener) of your own that wants to stop serving returns
/// `InvalidInput`.
pub fn on_accept_error(error: &io::Error) -> AfterError {
    use io::ErrorKind::*;
    match error.kind() {
        WouldBlock => AfterError::Wait,
        Interrupted | ConnectionAborted | ConnectionReset | ConnectionRefused
        | PermissionDenied | TimedOut | NetworkDown | NetworkUnreachable | HostUnreachable => {
            AfterError::Retry
        }
        InvalidInput | Unsupported => AfterError::Stop,
        _ if error.raw_os_error().is_some_and(is_hopeless) => AfterError::Stop,
        _ => AfterError::BackOff,
    }
}

/// `EBADF`, `EFAULT`, `ENOTSOCK`, which have no `ErrorKind`.
fn is_hopeless(errno: i32) -> bool {
    const ENOTSOCK: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        88
    } else {
        38
    };
    [9, 14, ENOTSOCK].contains(&errno)
}

/// The pauses of one serving thread, each twice the last until something succeeds, and what it says
/// of them in the log: a line a second at most, whatever the clients do.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Duration>,
    retries: u32,
    warned: Option<Instant>,
    short: bool,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Whether to retry at once. Lost clients come one by one; an error without end is no client's.
    pub(super) fn may_retry(&mut self) -> bool {
        const MOST_IN_A_ROW: u32 = 1000;
        self.retries += 1;
        self.retries <= MOST_IN_A_ROW
    }

    /// The next pause.
    pub(super) fn next(&mut self, error: &io::Error, server: &Address) -> Duration {
        if self.warned.is_none_or(|at| at.elapsed() >= Self::LONGEST) {
            self.warned = Some(Instant::now());
            self.short = true;
            log::warn!(
                target: "socketserver::server",
                "cannot accept on {server}: {error}; trying again at least every {:?}", Self::LONGEST
            );
        }
        let pause = self.last.map_or(Self::FIRST, |last| last * 2);
        *self.last.insert(pause.min(Self::LONGEST))
    }

    /// A client was accepted.
    pub(super) fn accepted(&mut self) {
        (self.last, self.retries) = (None, 0);
    }

    /// All clients were.
    pub(super) fn nobody_waits(&mut self, server: &Address) {
        self.accepted();
        if mem::take(&mut self.short) {
            log::info!(target: "socketserver::server", "accepting again on {server}");
        }
    }
}
