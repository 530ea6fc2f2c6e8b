//! Receiving, and how the end of the stream is told.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Link;
use crate::request::transport::uninterrupted;
use crate::sys::{MSG_DONTWAIT, MSG_PEEK};

impl Link {
    pub(in crate::request) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush_before_read()?;
        self.receive_once(buffer)
            .map_err(|e| self.explain_receive(e))
    }

    /// The first bytes of a request: an idle timeout holds in place of the read timeout.
    pub(in crate::request) fn receive_request(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.receive_once(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.may_stay_idle() => {}
                received => return received.map_err(|e| self.explain_receive(e)),
            }
        }
    }

    /// Whether it was the read timeout that has come, and it does not count.
    fn may_stay_idle(&self) -> bool {
        let blocks = || SockRef::from(self).nonblocking().is_ok_and(|non| !non);
        self.lifetime.has_idle_timeout() && blocks()
    }

    fn receive_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // What a client goes on sending does not put off the end.
        if self.was_ended() {
            return self.at_end();
        }
        // A Unix socket whose reading side is shut down takes no rest of a late request. So its
        // first byte is waited for and left there, for whoever ends idle connections to see.
        if self.transport.is_unix() && self.lifetime.is_idle() {
            if self.peek(0)? == 0 {
                return self.at_end();
            }
            self.lifetime.busy();
        }
        match self.transport.read(buffer)? {
            0 if self.late.load(Ordering::Relaxed) => self.receive_rest(buffer),
            0 => self.at_end(),
            n => {
                if self.lifetime.is_idle() && !self.lifetime.busy() {
                    self.late.store(true, Ordering::Relaxed);
                }
                self.traffic.add_received(n);
                Ok(n)
            }
        }
    }

    /// A late request, whose first bytes were on their way here while the server ended the
    /// connection as idle, is served like any other. TCP delivers what goes on arriving after the
    /// reading side was shut down, but no longer waits for it, so this does.
    fn receive_rest(&self, buffer: &mut [u8]) -> io::Result<usize> {
        const LONG_ENOUGH: Duration = Duration::from_secs(1);
        let begin = Instant::now();
        while begin.elapsed() < LONG_ENOUGH && !self.was_ended() {
            thread::sleep(Duration::from_millis(1));
            match self.transport.read(buffer)? {
                0 => {}
                n => {
                    self.traffic.add_received(n);
                    return Ok(n);
                }
            }
        }
        self.at_end()
    }

    /// The stream has ended: the client's doing, or the server's.
    fn at_end(&self) -> io::Result<usize> {
        match self.lifetime.ended_for() {
            None => self.ended.store(true, Ordering::Relaxed),
            Some(why) => why.error(&self.client_address).map_or(Ok(()), Err)?,
        }
        Ok(0)
    }

    /// Whether the client has sent something that was not read, or ended the stream.
    pub(in crate::request) fn something_arrived(&self) -> bool {
        self.peek(MSG_DONTWAIT).is_ok()
    }

    /// Looks for the next byte and leaves it there; 0 at the end of the stream.
    fn peek(&self, flags: i32) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        uninterrupted(|| SockRef::from(self).recv_with_flags(&mut byte, MSG_PEEK | flags))
    }

    fn explain_receive(&self, error: io::Error) -> io::Error {
        let timeout = self.transport.read_timeout();
        self.explain(error, "nothing received from", timeout)
    }
}
