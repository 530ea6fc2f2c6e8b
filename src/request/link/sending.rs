//! Sending, one message after the other.

use std::io::{self, IoSlice, Write};

use super::Link;

impl Link {
    pub(in crate::request) fn send(&self, data: &[u8]) -> io::Result<usize> {
        let _turn = self.writing.lock();
        let sent = Sender(self).write(data);
        sent.map_err(|e| self.explain_send(e))
    }

    pub(in crate::request) fn send_all(&self, data: &[u8]) -> io::Result<()> {
        let _turn = self.writing.lock();
        let sent = Sender(self).write_all(data);
        sent.map_err(|e| self.explain_send(e))
    }

    /// Sends all of it, so that nobody else's message lands in the middle of one that went out in
    /// two turns.
    pub(in crate::request) fn send_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let _turn = self.writing.lock();
        let sent = Sender(self).write_all_vectored(data);
        sent.map_err(|e| self.explain_send(e))
    }

    fn explain_send(&self, error: io::Error) -> io::Error {
        let timeout = self.transport.write_timeout();
        self.explain(error, "nothing could be sent to", timeout)
    }
}

/// Writes to the transport and counts it; its `write_all` goes on after a short write. Made by who
/// has the turn.
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
