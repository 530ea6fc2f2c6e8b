//! What a worker of green tasks waits with, on Linux.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::Ready;

/// A connection that the client has ended is reported as such.
pub(crate) const REPORTS_END: bool = true;

/// Whether a socket that is closed needs no [`delete`](Readiness::delete).
pub(crate) const FORGETS_CLOSED: bool = true;

/// The key of the descriptor through which other threads wake a worker.
const WAKE: u64 = u64::MAX;

/// A worker's sockets, edge-triggered, and a wake-up by other threads.
pub(crate) struct Readiness {
    epoll: OwnedFd,
    wake: OwnedFd,
}

pub(crate) type Events = Vec<epoll::Event>;

impl Readiness {
    /// Space for the events of one [`wait`](Self::wait).
    pub(crate) fn events() -> Events {
        Vec::with_capacity(256)
    }

    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered, so that it is never read.
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), flags)?;
        Ok(Readiness { epoll, wake })
    }

    /// Ends the current [`wait`](Self::wait), or the next one.
    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Reports the socket's current state, and then each change of it.
    pub(crate) fn add(&self, socket: &impl AsFd, key: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI;
        let flags = flags | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(key as u64),
            flags,
        )?)
    }

    pub(crate) fn delete(&self, socket: &impl AsFd) {
        let _ = epoll::delete(&self.epoll, socket);
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
        // A longer time would need a system call that older systems do not have.
        let timeout = timeout.map(|time| time.min(Duration::from_secs(3600)));
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        for event in events.iter().filter(|event| event.data.u64() != WAKE) {
            let flags = event.flags;
            // A read ends at urgent data too.
            let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::PRI;
            let ended = flags.intersects(ends);
            on_ready(Ready {
                key: event.data.u64() as usize,
                readable: ended || flags.contains(EventFlags::IN),
                writable: ended || flags.contains(EventFlags::OUT),
                ended,
            });
        }
        Ok(())
    }
}
