use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;

use super::Transport;
use crate::Address;
use crate::sys::MSG_DONTWAIT;

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
}

impl Link {
    pub(super) fn new(transport: Transport, client_address: Address, id: u64) -> Arc<Self> {
        Arc::new(Link {
            transport,
            client_address,
            id,
            writing: Mutex::new(()),
            ended: AtomicBool::new(false),
        })
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.transport.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                self.ended.store(true, Ordering::Relaxed);
                Ok(0)
            }
            Ok(n) => Ok(n),
            Err(e) => Err(self.explain(e, "nothing received from", self.transport.read_timeout())),
        }
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

/// Hangs up when the request that owns the connection is dropped.
#[derive(Debug)]
pub(super) struct HangUp(pub(super) Arc<Link>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}
