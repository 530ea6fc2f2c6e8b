//! How a worker of green tasks learns that its sockets are ready.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kqueue;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use self::epoll::{Events, FORGETS_CLOSED, REPORTS_END, Readiness};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use self::kqueue::{Events, FORGETS_CLOSED, REPORTS_END, Readiness};

/// What has happened to a socket.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) key: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The client has ended its stream, or the connection has failed. It stays so.
    pub(crate) ended: bool,
}
