use std::fmt;
use std::io;
use std::time::Duration;

/// Why this side closed a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum CloseReason {
    /// It was idle when the server shut down.
    Shutdown,
    /// It was idle for too long.
    IdleTimeout,
    /// It was still busy at the end of the shutdown timeout.
    Forced,
    /// Its lifetime, which was this long, is over.
    MaxLifetime(Duration),
    /// Nothing of its queue could be sent for this long.
    Stalled(Duration),
    /// The handler has aborted it.
    Aborted,
}

impl CloseReason {
    /// Whether only an idle connection is closed for it. Its handler can still write.
    pub(super) fn is_graceful(self) -> bool {
        matches!(self, CloseReason::Shutdown | CloseReason::IdleTimeout)
    }

    /// The error of the handler's reads and writes. `None` for the end of the stream, which is what a
    /// handler sees that waits for a message.
    pub(super) fn error(self, client: &dyn fmt::Display) -> Option<io::Error> {
        let (kind, message) = match self {
            CloseReason::Shutdown | CloseReason::IdleTimeout => return None,
            CloseReason::Forced => (
                io::ErrorKind::ConnectionAborted,
                format!(
                    "the server is shutting down, and has closed the connection from {client} by force"
                ),
            ),
            CloseReason::MaxLifetime(lifetime) => (
                io::ErrorKind::TimedOut,
                format!("the connection from {client} was not done within {lifetime:?}"),
            ),
            CloseReason::Stalled(timeout) => (
                io::ErrorKind::TimedOut,
                format!("could not send to {client} within {timeout:?}"),
            ),
            CloseReason::Aborted => (
                io::ErrorKind::ConnectionAborted,
                format!("the handler has aborted the connection from {client}"),
            ),
        };
        Some(io::Error::new(kind, message))
    }
}

/// The error of a connection that is closed without a reason of this side.
pub(super) fn closed(client: &dyn fmt::Display) -> io::Error {
    let message = format!("the connection from {client} is closed");
    io::Error::new(io::ErrorKind::NotConnected, message)
}
