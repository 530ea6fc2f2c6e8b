mod ending;
mod receiving;
mod sending;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::sending::Unsent;
use super::lifetime::{Lifetime, Limits};
use super::traffic::Traffic;
use super::transport::Transport;
use crate::Address;
use crate::options::StreamOptions;

/// One open connection, shared by a request's `rfile`, its `wfile` and the handles given out for
/// it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) transport: Transport,
    pub(super) client_address: Address,
    pub(super) id: u64,
    unsent: Unsent,
    /// The client has closed its side, and everything it sent has been read.
    ended: AtomicBool,
    /// A request came while the server ended the connection.
    late: AtomicBool,
    /// Another process has the connection now.
    abandoned: AtomicBool,
    lifetime: Lifetime,
    traffic: Traffic,
}

impl Link {
    pub(super) fn new(
        transport: Transport,
        client_address: Address,
        id: u64,
        options: &StreamOptions,
    ) -> Arc<Self> {
        let limits = Limits {
            idle_timeout: options.idle_timeout,
            deadline: options.max_lifetime,
        };
        Arc::new(Link {
            transport,
            client_address,
            id,
            unsent: Unsent::new(options.wbufsize),
            ended: AtomicBool::new(false),
            late: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            lifetime: Lifetime::new(limits),
            traffic: Traffic::default(),
        })
    }

    /// The handler starts. Returns when the connection is to be looked at first, if ever.
    pub(super) fn start(&self) -> Option<Instant> {
        self.lifetime.start()
    }

    /// The same with another deadline, from now.
    pub(super) fn start_within(&self, deadline: Option<Duration>) -> Option<Instant> {
        self.lifetime.start_within(deadline)
    }

    /// Marks the connection as waiting for a request, until the guard is dropped.
    pub(super) fn idle(&self) -> Idle<'_> {
        self.late.store(false, Ordering::Relaxed);
        self.lifetime.idle();
        Idle(&self.lifetime)
    }

    /// The server has the connection no more, and does not end it.
    pub(super) fn release(&self) {
        self.lifetime.release();
    }

    /// The kernel reports an expired timeout as "would block", which says little to the reader of a
    /// log.
    fn explain(
        &self,
        error: io::Error,
        what: &str,
        timeout: io::Result<Option<Duration>>,
    ) -> io::Error {
        let ended_for = self.lifetime.ended_for();
        if let Some(error) = ended_for.and_then(|why| why.error(&self.client_address)) {
            return error;
        }
        match timeout {
            Ok(Some(timeout)) if error.kind() == io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{what} {} for {timeout:?}", self.client_address),
            ),
            _ => error,
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// Held while a handler waits for a request.
pub(super) struct Idle<'a>(&'a Lifetime);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.busy();
    }
}
