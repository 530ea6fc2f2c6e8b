use std::fmt;
use std::io::{self, IoSlice, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use parking_lot::MutexGuard;

use super::conn::{Conn, OwnedConn};
use super::state::Flag;

/// A request's `wfile`: writes to the connection.
///
/// Unbuffered by default, as in Python: when [`write_all`](Write::write_all) or `write!` returns, the
/// system has the data. One call is one message: it never mixes with what other threads send through a
/// [`Connection`](super::Connection).
///
/// With [`wbufsize`](crate::Builder::wbufsize) it is buffered. The buffer is flushed after the handler's
/// `finish`, and whenever `rfile` has to wait for the client: a question is sent before its answer is
/// read, and the answers to messages that came together are sent together. After
/// [`split`](super::StreamRequest::split) reads do not flush.
///
/// A write blocks while the client does not read. With a write timeout it fails with `TimedOut` once the
/// client has received nothing for that long. If the client has closed the connection, it fails with
/// `BrokenPipe` or `ConnectionReset`, which the server logs at debug level only.
#[derive(Debug)]
pub struct Writer {
    conn: OwnedConn,
    /// Where `write!` formats its message; kept for the next one.
    text: String,
}

impl Writer {
    pub(super) fn new(conn: OwnedConn) -> Self {
        Writer {
            conn,
            text: String::new(),
        }
    }

    /// Moves the writer out. Writes to what stays behind fail.
    pub(super) fn detach(&mut self) -> Self {
        Writer::new(self.conn.take())
    }

    /// Flushes and ends the sending side: the client sees the end of the stream, and can go on sending
    /// (half-close). Python's `connection.shutdown(SHUT_WR)`.
    ///
    /// # Errors
    ///
    /// Errors of the flush or the socket; `NotConnected` if the connection is closed.
    #[doc(alias("half-close", "SHUT_WR"))]
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.flush()?;
        self.conn()?.shutdown(Shutdown::Write)
    }

    fn conn(&self) -> io::Result<&Conn> {
        if self.conn.is_detached() {
            let client = &self.conn.client_address;
            let message = format!("the connection from {client} was detached from its request");
            return Err(io::Error::new(io::ErrorKind::NotConnected, message));
        }
        Ok(&self.conn)
    }
}

/// One long message does not take memory for as long as the connection is open.
const LONGEST_KEPT: usize = 4096;

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.conn()?.write(data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.conn()?.write_all(data)
    }

    /// One message, even if `write!` formats it in pieces.
    fn write_fmt(&mut self, message: fmt::Arguments<'_>) -> io::Result<()> {
        if let Some(text) = message.as_str() {
            return self.write_all(text.as_bytes());
        }
        let mut text = mem::take(&mut self.text);
        let written = fmt::write(&mut text, message)
            .map_err(io::Error::other)
            .and_then(|()| self.write_all(text.as_bytes()));
        text.clear();
        text.shrink_to(LONGEST_KEPT);
        self.text = text;
        written
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.conn()?.write_vectored(data)
    }

    /// Sends the buffer. Bytes that cannot be sent are dropped: a connection does not recover after an
    /// error.
    fn flush(&mut self) -> io::Result<()> {
        if self.conn.is_detached() {
            return Ok(());
        }
        self.conn.flush()
    }
}

/// Sends the buffer of a detached request. The server flushes the others before.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// The connection's descriptor. Python's `wfile.fileno()`.
impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.conn.as_fd()
    }
}

/// Sending.
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
        self.locked(|guard| guard.sender().write_all(data))
    }

    /// Sends what is buffered. What cannot be sent is dropped: a connection does not recover after an
    /// error.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.state.has(Flag::Unsent) || self.state.is_childs() {
            return Ok(());
        }
        self.locked(WriteGuard::flush)
    }

    /// A handler that writes first does not wait for a message: it is busy.
    fn write_as_handler<'a, T>(
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
        let mut guard = WriteGuard {
            conn: self,
            data: self.write_buffer.lock(),
        };
        if let Err(error) = self.state.check_writable(&self.client_address) {
            self.state.set(Flag::Unsent, false);
            return Err(error);
        }
        let explain = |error| {
            let timeout = self.transport.write_timeout();
            self.explain(error, "nothing could be sent to", timeout)
        };
        act(&mut guard).map_err(explain)
    }
}

/// The right to send one message.
struct WriteGuard<'a> {
    conn: &'a Conn,
    data: MutexGuard<'a, Vec<u8>>,
}

impl<'a> WriteGuard<'a> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer(data)? {
            return Ok(data.len());
        }
        self.sender().write(data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer(data)? {
            return Ok(());
        }
        self.sender().write_all(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.conn.wbufsize == 0 {
            return self.sender().write_all_vectored(data);
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

    fn flush(&mut self) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let sent = self.sender().write_all(&self.data);
        self.data.clear();
        self.conn.state.set(Flag::Unsent, false);
        sent
    }

    fn sender(&self) -> Sender<'a> {
        Sender(self.conn)
    }
}

/// Writes to the socket and counts the bytes. Its `write_all` goes on after a short write.
struct Sender<'a>(&'a Conn);

impl Sender<'_> {
    fn write_all_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sent = self.0.transport.write_vectored(data)?;
        self.0.bytes.add_sent(sent);
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
        self.0.bytes.add_sent(sent);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
