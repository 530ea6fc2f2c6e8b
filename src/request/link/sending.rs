//! Sending: one message after the other, from a buffer if there is one.

use std::io::{self, IoSlice, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::Link;

/// What `wfile` has buffered.
#[derive(Debug)]
pub(super) struct Unsent {
    /// Locked for a whole message, so that a broadcast never lands in the middle of a reply.
    buffer: Mutex<Vec<u8>>,
    capacity: usize,
    /// What the buffer says, to be asked before each read.
    pending: AtomicBool,
    /// Whether a read sends it first.
    tied: AtomicBool,
}

impl Unsent {
    pub(super) fn new(capacity: usize) -> Self {
        Unsent {
            buffer: Mutex::default(),
            capacity,
            pending: AtomicBool::new(false),
            tied: AtomicBool::new(true),
        }
    }
}

impl Link {
    /// Buffers all of it, or sends a part.
    pub(in crate::request) fn write(&self, data: &[u8]) -> io::Result<usize> {
        self.begin();
        self.in_turn(|turn| turn.write(data))
    }

    /// Buffers or sends all of it.
    pub(in crate::request) fn write_all(&self, data: &[u8]) -> io::Result<()> {
        self.begin();
        self.in_turn(|turn| turn.write_all(data))
    }

    /// Without a buffer sends all of it, so that nobody else's message lands in the middle of one
    /// that went out in two turns.
    pub(in crate::request) fn write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.begin();
        self.in_turn(|turn| turn.write_vectored(data))
    }

    /// A handler that speaks first does not wait for a request: it asks for something, or has
    /// something to give.
    fn begin(&self) {
        if self.lifetime.is_idle() {
            self.lifetime.busy();
        }
    }

    /// Sends all of it, and leaves alone what is buffered.
    pub(in crate::request) fn send_all(&self, data: &[u8]) -> io::Result<()> {
        self.in_turn(|turn| turn.sender().write_all(data))
    }

    /// Sends what is buffered. What could not be sent is dropped: a connection that failed once
    /// does not recover.
    pub(in crate::request) fn flush(&self) -> io::Result<()> {
        if !self.unsent.pending.load(Ordering::Relaxed) || self.is_abandoned() {
            return Ok(());
        }
        self.in_turn(Turn::flush)
    }

    /// The same before a read that may wait for the client: it may wait for what is buffered.
    pub(super) fn flush_before_read(&self) -> io::Result<()> {
        if self.unsent.pending.load(Ordering::Relaxed) && self.unsent.tied.load(Ordering::Relaxed) {
            return self.flush();
        }
        Ok(())
    }

    /// Reads do not send any more: on another thread they would wait for a client that sends and
    /// does not read, and it for them.
    pub(in crate::request) fn untie(&self) {
        self.unsent.tied.store(false, Ordering::Relaxed);
    }

    /// Does not wait for whoever sends just now.
    pub(super) fn drop_unsent(&self) {
        self.unsent.pending.store(false, Ordering::Relaxed);
    }

    fn in_turn<'a, T>(&'a self, act: impl FnOnce(&mut Turn<'a>) -> io::Result<T>) -> io::Result<T> {
        let mut turn = Turn {
            link: self,
            buffer: self.unsent.buffer.lock(),
        };
        if let Err(error) = self.check_open() {
            self.drop_unsent();
            return Err(error);
        }
        act(&mut turn).map_err(|e| self.explain_send(e))
    }

    fn explain_send(&self, error: io::Error) -> io::Error {
        let timeout = self.transport.write_timeout();
        self.explain(error, "nothing could be sent to", timeout)
    }
}

/// The right to send a message.
struct Turn<'a> {
    link: &'a Link,
    buffer: MutexGuard<'a, Vec<u8>>,
}

impl<'a> Turn<'a> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.keep(data)? {
            return Ok(data.len());
        }
        self.sender().write(data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if self.keep(data)? {
            return Ok(());
        }
        self.sender().write_all(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.link.unsent.capacity == 0 {
            return self.sender().write_all_vectored(data);
        }
        let first = data.iter().find(|slice| !slice.is_empty());
        first.map_or(Ok(0), |slice| self.write(slice))
    }

    /// Buffers what is shorter than the buffer; returns whether it did. What is in the way is sent.
    fn keep(&mut self, data: &[u8]) -> io::Result<bool> {
        let unsent = &self.link.unsent;
        if data.len() > unsent.capacity - self.buffer.len() {
            self.flush()?;
        }
        let keeps = data.len() < unsent.capacity;
        if keeps {
            self.buffer.extend_from_slice(data);
            unsent.pending.store(true, Ordering::Relaxed);
        }
        Ok(keeps)
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = self.sender().write_all(&self.buffer);
        self.buffer.clear();
        self.link.unsent.pending.store(false, Ordering::Relaxed);
        sent
    }

    fn sender(&self) -> Sender<'a> {
        Sender(self.link)
    }
}

/// Writes to the transport and counts it; its `write_all` goes on after a short write.
struct Sender<'a>(&'a Link);

impl Sender<'_> {
    fn write_all_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sent = self.0.transport.write_vectored(data)?;
        self.0.traffic.add_sent(sent);
        for slice in data {
            let (done, rest) = slice.split_at(sent.min(slice.len()));
            sent -= done.len();
            self.write_all(rest)?;
        }
        Ok(data.iter().map(|slice| slice.len()).sum())
    }
}

impl Write for Sender<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.transport.write(data)?;
        self.0.traffic.add_sent(sent);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
