use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem;
use std::net::Shutdown;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, BorrowedFd};

use super::conn::{Conn, OwnedConn};

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
/// A write blocks while the client does not read. With a write timeout it fails with `TimedOut` when not
/// all of it could be sent within that time, as Python's `sendall` does. After a message that was sent only
/// in part, all writes fail with `BrokenPipe`. If the client has closed the connection, it fails with
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

    /// Sends a part of a file, and returns how many bytes that were. `..` is the whole file, from its first byte to its
    /// end. Python's `socket.sendfile`, but the position in the file is neither used nor changed.
    ///
    /// On Linux the system sends from a regular file without a copy. Elsewhere, with TLS, and from other files, such as
    /// those in `/proc`, this reads the file and sends it in pieces. Either way it is one message: what is buffered is
    /// sent before it, and what other threads send is not in the middle of it. A range with an end that is shorter than
    /// the [buffer](crate::Builder::wbufsize) is buffered, as a short write is.
    ///
    /// The system reads the file while it sends, also after this has returned: do not change its bytes in place; write a
    /// new file and rename it. A range that begins beyond the end of the file and has no end is empty.
    ///
    /// Blocks while the client does not read. The write timeout begins again after each 64 KiB, so a long file may take
    /// longer, unless for that time the client reads so little that the system takes nothing more. On a [green](crate::guide::dispatch#green-tasks) task waiting for the client suspends the task, and waiting
    /// for a slow disk blocks the worker.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::net::TcpStream;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", |request| {
    ///     let file = File::open("Cargo.toml")?;
    ///     let length = file.metadata()?.len();
    ///     writeln!(request.wfile, "{length} bytes:")?;
    ///     request.wfile.send_file(&file, ..length)?;
    ///     Ok(())
    /// })?;
    /// let server = server.serve_in_background()?;
    /// let client = TcpStream::connect(server.server_address())?;
    /// assert!(std::io::read_to_string(client)?.contains("bytes:\n[package]"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the file ends before the range does: it was cut off meanwhile, for example. Errors of reading
    /// the file; a pipe has no positions to read at. Those of a write.
    #[doc(alias("sendfile", "copy"))]
    pub fn send_file(&mut self, file: &File, range: impl RangeBounds<u64>) -> io::Result<u64> {
        self.conn()?.send_file(file, range)
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

    /// Sends the buffer, and what is queued in an [`Outbox`](super::Outbox). Bytes of the buffer that cannot be
    /// sent are dropped: a connection does not recover after an error.
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
        self.conn.transport.set_exposed();
        self.conn.as_fd()
    }
}
