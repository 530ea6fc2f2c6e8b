use std::fmt;
use std::io::{self, IoSlice, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::link::Link;
use super::owner::Owned;

/// A request's `wfile`: writes to the connection.
///
/// Unbuffered like Python's: each [`write_all`](Write::write_all) or `write!` has reached the
/// system when it returns, and is never mixed with what other threads send through a
/// [`Connection`](super::Connection).
///
/// With [`wbufsize`](crate::Builder::wbufsize) it is buffered, and flushed after the handler's
/// `finish`, and whenever `rfile` has to wait for the client: a question is sent before its answer
/// is read, and the answers to requests that came together are sent together. After
/// [`split`](super::StreamRequest::split) reads flush no more.
///
/// Writing blocks while the client does not read; with a write timeout it fails with `TimedOut`
/// once the client has taken nothing for that long. When the client is gone it fails with
/// `BrokenPipe` or `ConnectionReset`, which the server logs at debug level only.
#[derive(Debug)]
pub struct Writer {
    link: Arc<Link>,
    /// What `write!` makes its message in, kept for the next.
    text: String,
    /// `None` once the connection is detached.
    owned: Option<Arc<Owned>>,
}

impl Writer {
    pub(super) fn new(link: &Arc<Link>, owned: &Arc<Owned>) -> Self {
        Writer {
            link: Arc::clone(link),
            text: String::new(),
            owned: Some(Arc::clone(owned)),
        }
    }

    /// Moves the writer out. Through what stays behind nothing can be written.
    pub(super) fn detach(&mut self) -> Self {
        Writer {
            link: Arc::clone(&self.link),
            text: String::new(),
            owned: self.owned.take(),
        }
    }

    /// Flushes and ends the sending side: the client sees the end of the stream, and can go on
    /// sending itself. A relay passes a half-close on with it. Python's
    /// `connection.shutdown(SHUT_WR)`.
    ///
    /// # Errors
    ///
    /// What the flush or the socket reports; `NotConnected` when the client is gone.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.flush()?;
        self.link()?.shutdown(Shutdown::Write)
    }

    fn link(&self) -> io::Result<&Link> {
        if self.owned.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!(
                    "the connection from {} was detached from its request",
                    self.link.client_address
                ),
            ));
        }
        Ok(&self.link)
    }
}

/// One long message is not to take memory for as long as the connection lives.
const LONGEST_KEPT: usize = 4096;

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.link()?.write(data)
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.link()?.write_all(data)
    }

    /// One message, however many pieces `write!` makes of it.
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
        self.link()?.write_vectored(data)
    }

    /// Sends what is buffered. What could not be sent is dropped: a connection that failed once
    /// does not recover.
    fn flush(&mut self) -> io::Result<()> {
        if self.owned.is_none() {
            return Ok(());
        }
        self.link.flush()
    }
}

/// What a detached request has buffered is sent when it is dropped; the server has done so before.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// The connection's descriptor. Python's `wfile.fileno()`.
impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
