use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;

use super::Transport;
use super::lifetime::{EndedFor, Lifetime, Limits, Look};
use crate::Address;
use crate::registry::Live;
use crate::sys::{MSG_DONTWAIT, MSG_PEEK};
use crate::timer::Timed;

/// One open connection, shared by a request's `rfile`, its `wfile` and the handles given out for
/// it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) transport: Transport,
    pub(super) client_address: Address,
    pub(super) id: u64,
    /// Held for a whole message, so that a broadcast never lands in the middle of a reply.
    writing: Mutex<()>,
    /// The client has closed its side, and everything it sent has been read.
    ended: AtomicBool,
    /// Something has been received.
    begun: AtomicBool,
    lifetime: Lifetime,
}

impl Link {
    pub(super) fn new(
        transport: Transport,
        client_address: Address,
        id: u64,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Link {
            transport,
            client_address,
            id,
            writing: Mutex::new(()),
            ended: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            lifetime: Lifetime::new(limits),
        })
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.transport.read(buffer) {
            Ok(0) if !buffer.is_empty() => self.at_end().map(|()| 0),
            Ok(n) => {
                // What came just as the server ended the connection was not received.
                let first = !self.begun.swap(true, Ordering::Relaxed);
                Ok(if first && !self.lifetime.busy() { 0 } else { n })
            }
            Err(e) => Err(self.explain(e, "nothing received from", self.transport.read_timeout())),
        }
    }

    /// The stream has ended: the client's doing, or the server's.
    fn at_end(&self) -> io::Result<()> {
        match self.lifetime.ended_for() {
            None => self.ended.store(true, Ordering::Relaxed),
            Some(why) => why.error(&self.client_address).map_or(Ok(()), Err)?,
        }
        Ok(())
    }

    pub(super) fn send(&self, data: &[u8]) -> io::Result<usize> {
        let _turn = self.writing.lock();
        self.transport.write(data).map_err(|e| self.explain_send(e))
    }

    pub(super) fn send_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let _turn = self.writing.lock();
        self.transport
            .write_vectored(data)
            .map_err(|e| self.explain_send(e))
    }

    pub(super) fn send_all(&self, data: &[u8]) -> io::Result<()> {
        let _turn = self.writing.lock();
        Sender(self)
            .write_all(data)
            .map_err(|e| self.explain_send(e))
    }

    /// The end of a connection, and the only place where a server closes one: says goodbye to the
    /// client, which lets go of threads blocked in a write too. The descriptor goes with the last
    /// reference.
    ///
    /// What the client sent and nobody read is thrown away first: closing over it would send a
    /// reset, and a reset can destroy the reply on its way (RFC 1122, 4.2.2.13).
    pub(super) fn hang_up(&self) {
        const MOST: usize = 65_536;
        // Fails with ENOTCONN when the client has reset the connection.
        if self.transport.shutdown(Shutdown::Write).is_err() || self.ended.load(Ordering::Relaxed) {
            return;
        }
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let mut dropped = 0;
        while let Ok(n) = SockRef::from(self).recv_with_flags(&mut scratch, MSG_DONTWAIT) {
            dropped += n;
            if n == 0 || dropped >= MOST {
                break;
            }
        }
    }

    /// Whether the client has sent something that was not read, or ended the stream.
    pub(super) fn something_arrived(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = SockRef::from(self).recv_with_flags(&mut byte, MSG_PEEK | MSG_DONTWAIT);
        peeked.is_ok()
    }

    /// The handler starts. Returns when the connection is to be looked at first, if ever.
    pub(super) fn start(&self) -> Option<Instant> {
        self.lifetime.start()
    }

    /// Whether the server has ended the connection, for whatever reason.
    pub(super) fn was_ended(&self) -> bool {
        self.lifetime.ended_for().is_some()
    }

    /// Marks the connection as waiting for a request, until the guard is dropped.
    pub(super) fn idle(&self) -> Idle<'_> {
        self.lifetime.idle();
        Idle(&self.lifetime)
    }

    fn explain_send(&self, error: io::Error) -> io::Error {
        self.explain(
            error,
            "nothing could be sent to",
            self.transport.write_timeout(),
        )
    }

    /// The kernel reports an expired timeout as "would block", which says little to the reader of a
    /// log.
    fn explain(
        &self,
        error: io::Error,
        what: &str,
        timeout: io::Result<Option<Duration>>,
    ) -> io::Error {
        if let Some(error) = self
            .lifetime
            .ended_for()
            .and_then(|why| why.error(&self.client_address))
        {
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

/// `write_all` over the transport: goes on after a signal and after a short write.
struct Sender<'a>(&'a Link);

impl Write for Sender<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.transport.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Live for Link {
    fn drain(&self) {
        self.lifetime.if_idle(EndedFor::Shutdown, || {
            // A request that has arrived is served; the handler is about to wake up for it.
            !self.something_arrived() && self.transport.shutdown(Shutdown::Read).is_ok()
        });
    }

    fn cut(&self) {
        self.lifetime.end(EndedFor::Force);
        let _ = self.transport.shutdown(Shutdown::Both);
    }
}

impl Timed for Link {
    fn look(&self, now: Instant) -> Option<Instant> {
        match self.lifetime.look(now) {
            Look::Again(at) => Some(at),
            Look::Never => None,
            Look::End(why) => {
                self.lifetime.end(why);
                // An idle client may still be told goodbye.
                let how = if why == EndedFor::Idle {
                    Shutdown::Read
                } else {
                    Shutdown::Both
                };
                let _ = self.transport.shutdown(how);
                None
            }
        }
    }
}

/// Held while a handler waits for a request.
pub(super) struct Idle<'a>(&'a Lifetime);

impl Idle<'_> {
    /// The wait is over; false if the server has ended the connection meanwhile.
    pub(super) fn leave(self) -> bool {
        self.0.busy()
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.busy();
    }
}
