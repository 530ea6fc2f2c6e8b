//! Waits for many sockets.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

/// How long to wait, so that the caller notices that its time is over.
pub const TIMEOUT: Duration = Duration::from_millis(50);

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
        })
    }

    /// Waits for input, until the socket is closed.
    pub fn add(&self, socket: impl AsFd, index: usize) -> Result<()> {
        let data = EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// Waits until the socket is connected.
    pub fn add_connecting(&self, socket: impl AsFd, index: usize) -> Result<()> {
        let data = EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::OUT)?)
    }

    /// After [`add_connecting`](Self::add_connecting): waits for input from now on.
    pub fn connected(&self, socket: impl AsFd, index: usize) -> Result<()> {
        let data = EventData::new_u64(index as u64);
        Ok(epoll::modify(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// The indices of sockets that are ready. None after a timeout.
    pub fn wait(&mut self, timeout: Duration) -> Result<Vec<usize>> {
        let timeout = Timespec::try_from(timeout)?;
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let indices = self.events.iter().map(|event| event.data.u64() as usize);
        Ok(indices.collect())
    }
}
