//! Sending to a connection.

use std::cell::Cell;
use std::io::{self, IoSlice, Write};
use std::time::Instant;

use super::conn::{Conn, deadline};
use super::state::{Flag, Owner};
use super::transport::{MAX_SLICES, Transport};
use crate::green::{self, Interest};
use crate::task::MutexGuard;

impl Conn {
    /// Buffers all of it, or sends a part.
    pub(super) fn write(&self, data: &[u8]) -> io::Result<usize> {
        self.write_as_handler(|guard| guard.write(data))
    }

    /// Buffers or sends all of it.
    pub(super) fn write_all(&self, data: &[u8]) -> io::Result<()> {
        self.write_as_handler(|guard| guard.write_all(data))
    }

    /// Without a buffer sends all of it, so that no other message lands in the middle.
    pub(super) fn write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_as_handler(|guard| guard.write_vectored(data))
    }

    /// Sends all of it, past the buffer.
    pub(super) fn send_all(&self, data: &[u8]) -> io::Result<()> {
        self.locked(|guard| guard.sender()?.write_all(data))
    }

    /// Sends what is buffered and queued. What is buffered and cannot be sent is dropped: a connection does not
    /// recover after an error.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.flush_buffer()?;
        self.flush_queue()
    }

    /// Sends what is buffered, if anything is, after what is queued.
    pub(super) fn flush_buffer(&self) -> io::Result<()> {
        if !self.state.has(Flag::Unsent) || self.state.is_childs() {
            return Ok(());
        }
        self.locked(WriteGuard::flush)
    }

    fn flush_queue(&self) -> io::Result<()> {
        if !self.state.has(Flag::Queued) || self.state.is_childs() {
            return Ok(());
        }
        self.locked(|guard| guard.sender().map(drop))
    }

    /// Sends what is buffered and queued, and leaves the socket to the program: nothing more is sent, and
    /// closing does not shut it down.
    pub(super) fn release(&self) -> io::Result<()> {
        self.locked(|guard| {
            guard.flush()?;
            while !self.close_empty_queue() {
                guard.sender()?;
            }
            self.state.set_owner(Owner::Child);
            Ok(())
        })
    }

    /// Calls `act` after all that is buffered and queued, and before anything else is sent.
    pub(super) fn after_all_sent<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        self.locked(|guard| {
            guard.flush()?;
            guard.sender()?;
            Ok(act())
        })
    }

    /// A handler that writes first does not wait for a message: it is busy.
    pub(super) fn write_as_handler<'a, T>(
        &'a self,
        act: impl FnOnce(&mut WriteGuard<'a>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.state.is_idle() {
            self.state.set_busy();
        }
        self.locked(act)
    }

    fn locked<'a, T>(
        &'a self,
        act: impl FnOnce(&mut WriteGuard<'a>) -> io::Result<T>,
    ) -> io::Result<T> {
        let deadline = WriteDeadline(Cell::new(None));
        let written = self.lock_buffer(&deadline).and_then(|data| {
            let mut guard = WriteGuard {
                conn: self,
                data,
                deadline,
                begin: Cell::new(self.bytes.totals().1),
                has_begun: Cell::new(false),
            };
            if let Err(error) = self.state.check_writable(&self.client_address) {
                self.state.set(Flag::Unsent, false);
                return Err(error);
            }
            let written = act(&mut guard);
            if written.is_err() && guard.is_partly_sent() {
                self.state.set(Flag::Torn, true);
                self.discard_queue();
            }
            written
        });
        green::spend_budget(0);
        if self.state.has(Flag::Queued) {
            // The handler's read sees an error of it.
            let _ = self.send_queued();
        }
        written.map_err(|error| self.explain(error, "could not send to", self.write_timeout()))
    }

    /// Waits for other threads that send.
    fn lock_buffer(&self, deadline: &WriteDeadline) -> io::Result<MutexGuard<'_, Vec<u8>>> {
        if let Some(data) = self.write_buffer.try_lock() {
            return Ok(data);
        }
        match deadline.get(self) {
            None => Ok(self.write_buffer.lock()),
            Some(at) => self
                .write_buffer
                .try_lock_until(at)
                .ok_or_else(|| io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// When a write has to be done. It is known once something has to be waited for, so that other writes do
/// not read the clock.
pub(super) struct WriteDeadline(Cell<Option<Option<Instant>>>);

impl WriteDeadline {
    fn get(&self, conn: &Conn) -> Option<Instant> {
        let at = self.0.get();
        let at = at.unwrap_or_else(|| deadline(conn.write_timeout()));
        self.0.set(Some(at));
        at
    }

    /// The write timeout begins again with the next wait.
    pub(super) fn restart(&self) {
        self.0.set(None);
    }
}

/// The right to send one message.
pub(super) struct WriteGuard<'a> {
    pub(super) conn: &'a Conn,
    pub(super) data: MutexGuard<'a, Vec<u8>>,
    pub(super) deadline: WriteDeadline,
    /// How many bytes had been sent before this message.
    pub(super) begin: Cell<u64>,
    /// What was queued before it is sent.
    has_begun: Cell<bool>,
}

impl WriteGuard<'_> {
    /// Whether some of the message is sent, or encrypted and so on its way.
    fn is_partly_sent(&self) -> bool {
        let is_sent = self.conn.bytes.totals().1 > self.begin.get();
        is_sent || self.has_begun.get() && self.conn.transport.is_sending()
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer(data)? {
            return Ok(data.len());
        }
        self.sender()?.write(data)
    }

    #[inline(always)]
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer(data)? {
            return Ok(());
        }
        self.sender()?.write_all(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.conn.wbufsize == 0 {
            return self.sender()?.write_all_vectored(data);
        }
        let first = data.iter().find(|slice| !slice.is_empty());
        first.map_or(Ok(0), |slice| self.write(slice))
    }

    /// Buffers data that is shorter than the buffer, after sending what leaves no space for it. Returns
    /// whether it did.
    fn buffer(&mut self, data: &[u8]) -> io::Result<bool> {
        let capacity = self.conn.wbufsize;
        if data.len() > capacity - self.data.len() {
            self.flush()?;
        }
        let fits = data.len() < capacity;
        if fits {
            self.data.extend_from_slice(data);
            self.conn.state.set(Flag::Unsent, true);
        }
        Ok(fits)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let sender = self.sender();
        let sent = sender.and_then(|mut sender| sender.write_all(&self.data));
        self.data.clear();
        self.conn.state.set(Flag::Unsent, false);
        sent
    }

    /// Sends what was queued before this message.
    #[inline]
    pub(super) fn sender(&self) -> io::Result<Sender<'_>> {
        let sender = Sender {
            conn: self.conn,
            deadline: &self.deadline,
        };
        if self.conn.state.has(Flag::Queued) {
            self.send_queue(&sender)?;
        }
        self.has_begun.set(true);
        Ok(sender)
    }

    #[cold]
    fn send_queue(&self, sender: &Sender<'_>) -> io::Result<()> {
        let sent = sender.send_queue();
        self.begin.set(self.conn.bytes.totals().1);
        // Another thread may have dropped the queue instead.
        sent.and_then(|()| self.conn.state.check_writable(&self.conn.client_address))
    }
}

/// Writes to the socket and counts the bytes. It sends first, and waits only if there is no space.
pub(super) struct Sender<'a> {
    conn: &'a Conn,
    deadline: &'a WriteDeadline,
}

impl Sender<'_> {
    /// Sends what is queued now. Others may go on queueing meanwhile.
    fn send_queue(&self) -> io::Result<()> {
        let mut left = self.conn.queued_messages();
        while left > 0 && self.conn.state.has(Flag::Queued) {
            match self.conn.try_send_queue(left) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                sent => left = left.saturating_sub(sent?),
            }
        }
        Ok(())
    }

    fn write_all_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        for data in data.chunks(MAX_SLICES) {
            let mut sent = self.send(|transport| transport.try_write_vectored(data))?;
            for slice in data {
                let (done, rest) = slice.split_at(sent.min(slice.len()));
                sent -= done.len();
                self.write_all(rest)?;
            }
        }
        Ok(data.iter().map(|slice| slice.len()).sum())
    }

    #[inline(always)]
    pub(super) fn send(&self, send: impl Fn(&Transport) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match send(&self.conn.transport) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                sent => {
                    let sent = sent?;
                    self.conn.bytes.add_sent(sent);
                    return Ok(sent);
                }
            }
        }
    }
}

impl Sender<'_> {
    /// Waits until the socket takes more.
    fn wait(&self) -> io::Result<()> {
        let deadline = self.deadline.get(self.conn);
        self.conn.transport.wait(Interest::Write, deadline)
    }
}

impl Write for Sender<'_> {
    #[inline(always)]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(|transport| transport.try_write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
