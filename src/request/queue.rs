//! The queue of a connection's outboxes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::close_reason::CloseReason;
use super::conn::Conn;
use super::state::Flag;
use super::transport::Transport;
use crate::sys::poll_thread::{self, Event, Next, TICK, Watched};
use crate::tls::Session;

/// Messages that wait to be sent. Whoever holds the lock of the write buffer sends them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Arc<[u8]>>,
    /// How much of the first message was sent.
    offset: usize,
    /// How many bytes were not sent yet.
    unsent: usize,
    /// The thread of the process waits until the socket takes more, and then sends.
    is_polled: bool,
    /// The thread has had this connection.
    was_watched: bool,
    is_closed: bool,
}

impl Queue {
    /// What a message counts in addition to its length, so that very short ones are limited too.
    const PER_MESSAGE: usize = 64;

    fn fits(&self, message: &[u8], limit: usize) -> bool {
        let used = self.unsent + self.messages.len() * Self::PER_MESSAGE;
        used.saturating_add(message.len() + Self::PER_MESSAGE) <= limit
    }

    fn push(&mut self, message: Arc<[u8]>) {
        self.unsent += message.len();
        self.messages.push_back(message);
    }

    /// Sends what the socket takes of at most the first `max` messages, in one call.
    fn send(&mut self, transport: &Transport, max: usize) -> io::Result<usize> {
        const MAX_SLICES: usize = 64;
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = self.messages.len().min(MAX_SLICES).min(max);
        for (slice, message) in slices.iter_mut().zip(&self.messages) {
            *slice = IoSlice::new(message);
        }
        if count > 0 {
            slices[0] = IoSlice::new(&self.messages[0][self.offset..]);
        }
        let sent = match count {
            0 => 0,
            1 => transport.try_write(&slices[0])?,
            _ => transport.try_write_vectored(&slices[..count])?,
        };
        self.advance(sent);
        Ok(sent)
    }

    fn advance(&mut self, sent: usize) {
        self.unsent -= sent;
        self.offset += sent;
        while let Some(first) = self.messages.front() {
            if self.offset < first.len() {
                break;
            }
            self.offset -= first.len();
            self.messages.pop_front();
        }
        if self.messages.is_empty() {
            // A queue that was long once does not take memory for as long as the connection is open.
            self.messages = VecDeque::new();
        }
    }
}

/// Queued messages.
impl Conn {
    /// Queues a message, and sends it if that is possible without blocking.
    pub(super) fn push(&self, message: Arc<[u8]>, limit: usize) -> io::Result<()> {
        if poll_thread::is_missing() {
            return self.send_all(&message);
        }
        if message.is_empty() {
            return Ok(());
        }
        let mut queue = self.queue.lock();
        // Under the lock: nothing is queued behind a message that was sent only in part.
        self.state.check_writable(&self.client_address)?;
        if queue.is_closed {
            return Err(self.closed());
        }
        if !queue.fits(&message, limit) {
            return Err(self.is_full(limit));
        }
        queue.push(message);
        self.state.set(Flag::Queued, true);
        drop(queue);
        let sent = self.send_queued();
        sent.map_err(|error| self.explain(error, "could not send to", None))
    }

    fn is_full(&self, limit: usize) -> io::Error {
        let client = &self.client_address;
        let message = format!("the outbox of {client} is full: its limit is {limit} bytes");
        io::Error::new(io::ErrorKind::QuotaExceeded, message)
    }

    /// Sends what the socket takes, unless another thread does. Called after a push, and by each thread that
    /// has released the lock: a push may have met it.
    #[cold]
    pub(super) fn send_queued(&self) -> io::Result<()> {
        let mut result = Ok(());
        while self.has_unattended() {
            let Some(_held) = self.write_buffer.try_lock() else {
                break;
            };
            let sent = self.send_some();
            let sent = sent.and_then(|is_empty| if is_empty { Ok(()) } else { self.poll() });
            // After an error too there may be messages that have met the lock.
            result = result.and(sent);
        }
        result
    }

    /// Whether there are messages that the thread does not send.
    fn has_unattended(&self) -> bool {
        self.state.has(Flag::Queued) && !poll_thread::is_missing() && !self.queue.lock().is_polled
    }

    /// Sends what the socket takes in one call. The caller holds the lock of the write buffer. Returns
    /// whether the queue is empty. After an error it is.
    fn send_some(&self) -> io::Result<bool> {
        match self.try_send_queue(usize::MAX) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.discard_queue();
                Err(error)
            }
            _ => Ok(!self.state.has(Flag::Queued)),
        }
    }

    /// Sends at most the first `max` messages. Returns how many have been sent to their end.
    pub(super) fn try_send_queue(&self, max: usize) -> io::Result<usize> {
        let mut queue = self.queue.lock();
        if self.state.has(Flag::Torn) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = queue.messages.len();
        let sent = queue.send(&self.transport, max);
        self.bytes
            .add_sent(sent.inspect_err(|error| self.remember(error.kind()))?);
        if queue.messages.is_empty() {
            self.state.set(Flag::Queued, false);
        }
        Ok(before - queue.messages.len())
    }

    /// Keeps the error of a send that no handler waits for. The system reports a reset once, and a read would
    /// then see the end of the stream.
    fn remember(&self, kind: io::ErrorKind) {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, WouldBlock,
        };
        match kind {
            BrokenPipe | WouldBlock => return,
            ConnectionAborted | ConnectionReset | NotConnected | TimedOut => {}
            // The socket goes on, but the queue is lost.
            _ => self.transport.reset(),
        }
        let _ = self.send_error.set(kind);
    }

    /// How many bytes were sent, as the socket counts them.
    pub(super) fn sent(&self) -> u64 {
        let session = self.transport.session();
        session.map_or_else(|| self.bytes.totals().1, Session::sent)
    }

    pub(super) fn queued_messages(&self) -> usize {
        self.queue.lock().messages.len()
    }

    /// Lets the thread send the rest.
    fn poll(&self) -> io::Result<()> {
        let conn = self.me.upgrade().ok_or_else(|| self.closed())?;
        let mut queue = self.queue.lock();
        if queue.messages.is_empty() {
            return Ok(());
        }
        // Before the thread can know it: the socket may be writable at once.
        (queue.is_polled, queue.was_watched) = (true, true);
        drop(queue);
        let added = poll_thread::add(Box::new(Stalled::new(conn)), true);
        added.inspect_err(|error| {
            self.queue.lock().is_polled = false;
            // What was queued before is lost, so the handler has to know.
            let _ = self.send_error.set(error.kind());
            self.reset();
        })
    }

    /// Drops what is queued. Nothing may follow a message that was sent in part.
    pub(super) fn discard_queue(&self) {
        self.discard_queue_and(|| ());
    }

    /// The same, and then ends the connection through `end`, before another thread can queue or send.
    pub(super) fn discard_queue_and<T>(&self, end: impl FnOnce() -> T) -> T {
        let mut queue = self.queue.lock();
        if queue.offset > 0 || self.transport.is_sending() {
            self.state.set(Flag::Torn, true);
        }
        (queue.messages, queue.unsent, queue.offset) = Default::default();
        self.state.set(Flag::Queued, false);
        end()
    }

    /// The handler has ended: nothing more is queued.
    pub(super) fn end_queue(&self) {
        self.queue.lock().is_closed = true;
    }

    /// If nothing is queued, nothing more is from now on. Returns whether it is so.
    pub(super) fn close_empty_queue(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.is_closed |= queue.messages.is_empty();
        queue.is_closed
    }

    /// The connection is closed: nothing more is queued. Returns whether the client lacks the rest of what it
    /// was sent. A message that was pushed just now, and not sent yet, is dropped without that.
    pub(super) fn close_queue(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let was_watched = queue.was_watched;
        let is_stalled = queue.offset > 0 || queue.is_polled;
        let is_cut = is_stalled && !queue.messages.is_empty();
        drop(queue);
        self.discard_queue();
        if was_watched {
            poll_thread::remove(&self.transport);
        }
        is_cut
    }
}

/// A connection whose client does not read fast enough.
struct Stalled {
    conn: Arc<Conn>,
    /// What was sent up to the last check.
    sent: u64,
    /// The last check at which something had been sent.
    since: Instant,
    /// The write timeout at the last check.
    timeout: Option<Duration>,
    /// Whether the last event had brought nothing.
    was_in_vain: bool,
}

impl Stalled {
    fn new(conn: Arc<Conn>) -> Self {
        let now = Instant::now();
        Stalled {
            sent: conn.sent(),
            timeout: conn.write_timeout(),
            conn,
            since: now,
            was_in_vain: false,
        }
    }

    /// Ends the connection if nothing could be sent for its write timeout. Returns whether it has.
    fn has_timed_out(&mut self, now: Instant) -> bool {
        let sent = self.conn.sent();
        if sent != self.sent {
            (self.sent, self.since) = (sent, now);
        }
        self.timeout = self.conn.write_timeout();
        let is_over = |timeout: &Duration| now - self.since >= *timeout;
        let Some(timeout) = self.timeout.filter(is_over) else {
            return false;
        };
        self.conn.state.end(CloseReason::Stalled(timeout));
        self.conn.reset();
        true
    }
}

impl AsFd for Stalled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.conn.as_fd()
    }
}

impl Watched for Stalled {
    fn event(&self, key: usize) -> Event {
        Event::writable(key)
    }

    fn on_ready(&mut self) -> Next {
        let conn = &self.conn;
        // From here on a thread that releases the lock sends what is queued.
        conn.queue.lock().is_polled = false;
        while conn.has_unattended() {
            let Some(_held) = conn.write_buffer.try_lock() else {
                return Next::Tick;
            };
            let before = conn.sent();
            if conn.send_some().is_ok_and(|is_empty| !is_empty) {
                conn.queue.lock().is_polled = true;
                // Without memory for more the system calls the socket writable, and takes nothing. Once it
                // may be that another thread has filled the socket since the event.
                let is_in_vain = conn.sent() == before;
                let is_second = std::mem::replace(&mut self.was_in_vain, is_in_vain);
                return if is_in_vain && is_second {
                    Next::Tick
                } else {
                    Next::Poll
                };
            }
        }
        Next::Remove
    }

    fn on_tick(&mut self, now: Instant) -> Next {
        let has_timed_out = self.conn.state.has(Flag::Queued) && self.has_timed_out(now);
        let mut queue = self.conn.queue.lock();
        if queue.messages.is_empty() || has_timed_out {
            queue.is_polled = false;
            return Next::Remove;
        }
        if queue.is_polled {
            Next::Poll
        } else {
            Next::Tick
        }
    }

    fn tick(&self) -> Duration {
        self.timeout.map_or(TICK, |timeout| timeout.min(TICK))
    }
}
