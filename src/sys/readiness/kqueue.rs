//! What a worker of green tasks waits with, on systems other than Linux.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use polling::{Event, PollMode, Poller};

use super::Ready;

/// The end of a stream is reported as data is.
pub(crate) const REPORTS_END: bool = false;

/// Whether a socket that is closed needs no [`delete`](Readiness::delete). The poller keeps its number.
pub(crate) const FORGETS_CLOSED: bool = false;

pub(crate) type Events = polling::Events;

/// A worker's sockets, edge-triggered, and a wake-up by other threads.
pub(crate) struct Readiness(Poller);

impl Readiness {
    /// Space for the events of one [`wait`](Self::wait).
    pub(crate) fn events() -> Events {
        Events::new()
    }

    /// # Errors
    ///
    /// `Unsupported` where the system reports no edges.
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        if poller.supports_edge() {
            Ok(Readiness(poller))
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Ends the current [`wait`](Self::wait), or the next one.
    pub(crate) fn wake(&self) {
        let _ = self.0.notify();
    }

    /// Reports the socket's current state, and then each change of it.
    pub(crate) fn add(&self, socket: &impl AsFd, key: usize) -> io::Result<()> {
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: the socket is deleted before it is closed.
        unsafe {
            self.0
                .add_with_mode(socket, Event::all(key), PollMode::Edge)
        }
    }

    pub(crate) fn delete(&self, socket: &impl AsFd) {
        let _ = self.0.delete(socket);
    }

    /// Waits until something has happened to a socket, another thread wakes, or the time is over. Blocks,
    /// unless the time is zero.
    pub(crate) fn wait(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
        mut on_ready: impl FnMut(Ready),
    ) -> io::Result<()> {
        events.clear();
        self.0.wait(events, timeout)?;
        for event in events.iter() {
            on_ready(Ready {
                key: event.key,
                readable: event.readable,
                writable: event.writable,
                ended: false,
            });
        }
        Ok(())
    }
}
