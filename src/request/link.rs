use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
#[cfg(feature = "fork")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;

use super::lifetime::{EndedFor, Lifetime, Limits};
use super::transport::{Transport, uninterrupted};
use crate::Address;
use crate::registry::Live;
#[cfg(feature = "fork")]
use crate::sys::process;
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
    /// A request came while the server ended the connection.
    late: AtomicBool,
    /// Another process has the connection now.
    abandoned: AtomicBool,
    lifetime: Lifetime,
    traffic: Traffic,
}

/// Bytes received and sent. Each is written by one thread at a time: there is one reader, and
/// writers take turns.
#[derive(Debug, Default)]
struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.store(
        counter.load(Ordering::Relaxed) + bytes as u64,
        Ordering::Relaxed,
    );
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
            late: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            lifetime: Lifetime::new(limits),
            traffic: Traffic::default(),
        })
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // What a client goes on sending does not put off the end.
        if self.was_ended() {
            return self.at_end();
        }
        // A Unix socket whose reading side is shut down takes no rest of a late request. So its first
        // byte is waited for and left there, for whoever ends idle connections to see.
        if self.transport.is_unix() && self.lifetime.is_idle() {
            if self.peek(0).map_err(|e| self.explain_receive(e))? == 0 {
                return self.at_end();
            }
            self.lifetime.busy();
        }
        match self.transport.read(buffer) {
            Ok(0) if self.late.load(Ordering::Relaxed) => self.receive_rest(buffer),
            Ok(0) => self.at_end(),
            Ok(n) => {
                if self.lifetime.is_idle() && !self.lifetime.busy() {
                    self.late.store(true, Ordering::Relaxed);
                }
                add(&self.traffic.received, n);
                Ok(n)
            }
            Err(e) => Err(self.explain_receive(e)),
        }
    }

    /// A late request, whose first bytes were on their way here while the server ended the connection
    /// as idle, is served like any other. TCP delivers what goes on arriving after the reading side was
    /// shut down, but no longer waits for it, so this does.
    fn receive_rest(&self, buffer: &mut [u8]) -> io::Result<usize> {
        const LONG_ENOUGH: Duration = Duration::from_secs(1);
        let begin = Instant::now();
        while begin.elapsed() < LONG_ENOUGH && !self.was_ended() {
            thread::sleep(Duration::from_millis(1));
            match self.transport.read(buffer)? {
                0 => {}
                n => {
                    add(&self.traffic.received, n);
                    return Ok(n);
                }
            }
        }
        self.at_end()
    }

    /// Looks for the next byte and leaves it there; 0 at the end of the stream.
    fn peek(&self, flags: i32) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        uninterrupted(|| SockRef::from(self).recv_with_flags(&mut byte, MSG_PEEK | flags))
    }

    /// The stream has ended: the client's doing, or the server's.
    fn at_end(&self) -> io::Result<usize> {
        match self.lifetime.ended_for() {
            None => self.ended.store(true, Ordering::Relaxed),
            Some(why) => why.error(&self.client_address).map_or(Ok(()), Err)?,
        }
        Ok(0)
    }

    pub(super) fn send(&self, data: &[u8]) -> io::Result<usize> {
        let _turn = self.writing.lock();
        let sent = Sender(self).write(data);
        sent.map_err(|e| self.explain_send(e))
    }

    /// Sends all of it, so that nobody else's message lands in the middle of one that went out in two
    /// turns.
    pub(super) fn send_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let _turn = self.writing.lock();
        let send = || {
            let mut sent = self.transport.write_vectored(data)?;
            add(&self.traffic.sent, sent);
            let total = data.iter().map(|slice| slice.len()).sum();
            for slice in data {
                let (done, rest) = slice.split_at(sent.min(slice.len()));
                sent -= done.len();
                Sender(self).write_all(rest)?;
            }
            Ok(total)
        };
        send().map_err(|e| self.explain_send(e))
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
        if self.is_abandoned() {
            return;
        }
        if self
            .lifetime
            .ended_for()
            .is_some_and(|why| !why.is_gentle())
        {
            // A reset: a client that floods would hold on to kernel memory for minutes otherwise.
            let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
            return;
        }
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

    /// Nothing is sent from here on, and the connection is not shut down.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the client has sent something that was not read, or ended the stream.
    pub(super) fn something_arrived(&self) -> bool {
        self.peek(MSG_DONTWAIT).is_ok()
    }

    /// The handler starts. Returns when the connection is to be looked at first, if ever.
    pub(super) fn start(&self) -> Option<Instant> {
        self.lifetime.start()
    }

    /// The same with another deadline, from now.
    pub(super) fn start_within(&self, deadline: Option<Duration>) -> Option<Instant> {
        self.lifetime.start_within(deadline)
    }

    /// Whether the server has ended the connection, and no late request keeps it going.
    pub(super) fn was_ended(&self) -> bool {
        self.lifetime.is_over() && !self.is_late()
    }

    fn is_late(&self) -> bool {
        let ended_gently = || self.lifetime.ended_for().is_none_or(EndedFor::is_gentle);
        self.late.load(Ordering::Relaxed) && ended_gently()
    }

    /// The server has the connection no more, and does not end it.
    pub(super) fn release(&self) {
        self.lifetime.release();
    }

    /// Marks the connection as waiting for a request, until the guard is dropped.
    pub(super) fn idle(&self) -> Idle<'_> {
        self.late.store(false, Ordering::Relaxed);
        self.lifetime.idle();
        Idle(&self.lifetime)
    }

    /// Ends the socket; false if it stays open, for a request has arrived.
    fn stop(&self, why: EndedFor) -> bool {
        if why.is_gentle() {
            return !self.something_arrived() && self.transport.shutdown(Shutdown::Read).is_ok();
        }
        let _ = self.transport.shutdown(Shutdown::Both);
        true
    }

    fn explain_receive(&self, error: io::Error) -> io::Error {
        self.explain(
            error,
            "nothing received from",
            self.transport.read_timeout(),
        )
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

/// Writes to the transport and counts it; its `write_all` goes on after a short write. Made by who
/// has the turn.
struct Sender<'a>(&'a Link);

impl Write for Sender<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.transport.write(data)?;
        add(&self.0.traffic.sent, sent);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Live for Link {
    fn drain(&self) {
        self.lifetime.end(EndedFor::Shutdown, |why| self.stop(why));
    }

    fn cut(&self) {
        self.lifetime.end(EndedFor::Force, |why| self.stop(why));
    }

    fn traffic(&self) -> (u64, u64) {
        let Traffic { received, sent } = &self.traffic;
        (
            received.load(Ordering::Relaxed),
            sent.load(Ordering::Relaxed),
        )
    }

    #[cfg(feature = "fork")]
    fn let_go(&self) {
        process::blind(self.as_fd().as_raw_fd());
    }
}

impl Timed for Link {
    fn look(&self, now: Instant) -> Option<Instant> {
        self.lifetime.look(now, |why| self.stop(why))
    }
}

/// Held while a handler waits for a request.
pub(super) struct Idle<'a>(&'a Lifetime);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.busy();
    }
}
