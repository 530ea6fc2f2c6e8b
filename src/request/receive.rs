//! Receiving from a connection.

use std::io;
use std::time::Duration;

use super::buffer::Space;
use super::conn::{Conn, deadline};
use super::state::{Arrived, Flag};
use crate::green::{self, Interest};
use crate::sys::stream;
use crate::tls::Session;

/// How long a shutdown waits for the first message of a client that was in its handshake.
const FIRST_MESSAGE: Duration = Duration::from_secs(1);

impl Conn {
    /// Receives into `buffer`, after flushing data that the client may wait for. Returns 0 at the end of the
    /// stream.
    pub(super) fn receive(&self, buffer: &mut impl Space) -> io::Result<usize> {
        if self.state.has(Flag::Unsent) && !self.state.has(Flag::Split) {
            self.flush_buffer()?;
        }
        let received = self.receive_once(buffer);
        received.map_err(|e| self.explain_receive(e))
    }

    /// Receives the first bytes of a message. The idle timeout, if there is one, replaces the read
    /// timeout.
    #[inline(always)]
    pub(super) fn receive_message(&self, buffer: &mut impl Space) -> io::Result<usize> {
        loop {
            match self.receive_once(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.ignores_read_timeout() => {}
                received => return received.map_err(|e| self.explain_receive(e)),
            }
        }
    }

    fn ignores_read_timeout(&self) -> bool {
        self.state.has_idle_timeout() && !self.transport.is_nonblocking()
    }

    #[inline(always)]
    fn receive_once(&self, buffer: &mut impl Space) -> io::Result<usize> {
        // A client that goes on sending does not delay the end.
        if self.state.is_closed() {
            return self.at_end();
        }
        if self.state.is_idle() && self.is_verified() {
            return self.receive_first(buffer);
        }
        let is_encrypted = self.transport.session().is_some();
        if is_encrypted
            || self.state.has_boundaries()
            || self.state.has(Flag::Late)
            || !self.is_verified()
        {
            return self.receive_more(buffer);
        }
        match self.read(buffer)? {
            0 => self.at_end(),
            n => Ok(n),
        }
    }

    /// Receives the first bytes of a message.
    #[inline(always)]
    fn receive_first(&self, buffer: &mut impl Space) -> io::Result<usize> {
        if let Some(session) = self.transport.session() {
            return self.receive_first_encrypted(session, buffer);
        }
        // Where a socket whose reading side is shut down receives nothing more, not even the rest of a
        // message, the first byte is waited for and left in the socket: a shutdown sees it there.
        if self.transport.is_unix() || !stream::RECEIVES_AFTER_SHUTDOWN {
            return match self.transport.wait_and_peek()? {
                0 => self.at_end(),
                _ => self.receive_more(buffer),
            };
        }
        let n = self.read(buffer)?;
        if n == 0 {
            return self.at_end();
        }
        if !self.state.set_busy() {
            self.state.begin_late_message(self.received());
        }
        Ok(n)
    }

    /// A blocking read. If a shutdown sets the mark meanwhile, it does not know whether these bytes had
    /// arrived before. They are served.
    #[inline(always)]
    fn read(&self, buffer: &mut impl Space) -> io::Result<usize> {
        let had_mark = self.state.has_mark();
        let n = self.transport.read(buffer)?;
        self.bytes.add_received(n);
        if !had_mark && self.state.has(Flag::Draining) {
            self.state.extend_mark(|| self.arrived());
        }
        Ok(n)
    }

    /// Receives more of a message. Not by a blocking read, so that a shutdown knows what has arrived.
    fn receive_more(&self, buffer: &mut impl Space) -> io::Result<usize> {
        let mut until = None;
        loop {
            let received = self.state.receive_locked(true, || {
                let n = self.transport.try_read(buffer.space())?;
                self.bytes.add_received(n);
                Ok(n)
            });
            match received {
                Ok(0) if self.state.has(Flag::Late) => return self.receive_rest(buffer),
                Ok(0) => return self.at_end(),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return self.truncated(e),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = *until.get_or_insert_with(|| deadline(self.read_timeout()));
                    buffer.give_back();
                    self.transport.wait(Interest::Read, deadline)?;
                }
                received => {
                    self.settle_mark();
                    green::spend_budget(*received.as_ref().unwrap_or(&0));
                    return received;
                }
            }
        }
    }

    /// Receives the first bytes of a message. Until then they stay in the session, where a shutdown sees them.
    fn receive_first_encrypted(
        &self,
        session: &Session,
        buffer: &mut impl Space,
    ) -> io::Result<usize> {
        let begin = self.received();
        let mut until = None;
        loop {
            match self.transport.try_encrypted(session, |had_event| {
                session.peek(&self.transport, had_event)
            }) {
                Ok(0) => return self.at_end(),
                Ok(_) => return self.receive_more(buffer),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return self.truncated(e),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            self.settle_mark();
            if !self.state.may_begin(begin, &self.client_address)? {
                return self.at_end();
            }
            let at = *until.get_or_insert_with(|| deadline(self.read_timeout()));
            buffer.give_back();
            if !session.expects_message() {
                self.transport.wait(Interest::Read, at)?;
                continue;
            }
            let at = at.into_iter().chain(deadline(Some(FIRST_MESSAGE))).min();
            if self.transport.wait(Interest::Read, at).is_err() {
                // It does not come.
                self.state.set_mark(begin);
            }
        }
    }

    /// A shutdown does not know how much will be decrypted of what has arrived. Here it is known.
    fn settle_mark(&self) {
        if self.state.has(Flag::Draining) {
            let session = self.transport.session();
            if let Some(end) = session.and_then(Session::take_arrived) {
                self.state.set_mark(end);
            }
        }
    }

    /// An encrypted stream has ended without `close_notify`. If this side has ended it, that is the end.
    #[cold]
    fn truncated(&self, error: io::Error) -> io::Result<usize> {
        self.at_end()?;
        match self.state.close_reason() {
            Some(_) => Ok(0),
            None => Err(error),
        }
    }

    /// Receives more of a message whose first bytes arrived while the connection was closed as idle.
    fn receive_rest(&self, buffer: &mut impl Space) -> io::Result<usize> {
        let timeout = self.read_timeout();
        let receive = || self.transport.try_read(buffer.space());
        match self.transport.wait_after_shutdown(timeout, receive)? {
            0 if self.state.is_closed() => self.at_end(),
            0 => {
                self.state.set(Flag::EndSeen, true);
                Ok(0)
            }
            n => {
                self.bytes.add_received(n);
                Ok(n)
            }
        }
    }

    /// The position in the stream of input of what the handler receives next.
    pub(super) fn received(&self) -> u64 {
        self.bytes.totals().0
    }

    pub(super) fn arrived(&self) -> Arrived {
        // In this order: bytes that the handler receives in between are missing, but never counted twice.
        let received = self.received();
        Arrived {
            received,
            unread: self.transport.unread(),
        }
    }

    /// The end of the stream: the client has ended it, or this side has.
    #[cold]
    #[inline(never)]
    pub(super) fn at_end(&self) -> io::Result<usize> {
        if self.state.has(Flag::Queued) {
            // A thread that has just seen a reset says so before it releases this lock.
            drop(self.queue.lock());
        }
        match (self.state.close_reason(), self.send_error.get()) {
            (Some(reason), _) => reason.error(&self.client_address).map_or(Ok(()), Err)?,
            (None, Some(kind)) => {
                let message = format!("could not send to {}: {kind}", self.client_address);
                return Err(io::Error::new(*kind, message));
            }
            (None, None) => self.state.set(Flag::EndSeen, true),
        }
        Ok(0)
    }

    #[cold]
    #[inline(never)]
    fn explain_receive(&self, error: io::Error) -> io::Error {
        let timeout = self.read_timeout();
        self.explain(error, "nothing received from", timeout)
    }
}
