use std::io::{self, BufRead, Read};
use std::str;

use super::buffer::Buffer;
use super::conn::OwnedConn;
use super::state::Flag;

/// A request's `rfile`: a buffered reader of the connection.
///
/// It is Python's `rfile` and `recv` in one, so both can be mixed: [`read`](Read::read) is `recv`, and
/// returns buffered data first.
///
/// `for line in &mut request.rfile` is Python's `for line in self.rfile`: bytes with their end (`\n`).
/// **Each line is a message.** Between two lines, when nothing is buffered and `wfile` is flushed, the
/// connection is idle: a graceful shutdown or the idle timeout ends it only there. Do not loop
/// over the lines of a header or a message body: a shutdown could end the connection in the middle of it.
/// Read those with [`readline`](Self::readline) or [`read_line`](BufRead::read_line). The loop ends at the
/// end of the stream, when the server shuts down, after the idle timeout, and after an error.
///
/// Before a read waits for the client, it flushes [`wfile`](super::Writer), and fails if that fails.
///
/// A line has a maximum length, [`max_line`](crate::Builder::max_line), 64 KiB by default. Where
/// [`BufRead`] would read without limit, [`read_line`](BufRead::read_line) and
/// [`read_until`](BufRead::read_until) fail with `InvalidData` when a line is longer.
///
/// **A line read that fails consumes nothing.** After a line that is too long or not UTF-8, or a timeout,
/// all that had arrived is still there and can be read in another way.
/// [`skip_until`](BufRead::skip_until) skips a line that is too long.
///
/// ```
/// use socketserver::prelude::*;
///
/// struct Upper;
///
/// impl RequestHandler for Upper {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         for line in &mut request.rfile {
///             request.wfile.write_all(&line?.to_ascii_uppercase())?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Reader {
    conn: OwnedConn,
    buffer: Buffer,
    max_line: usize,
    /// Whether the stream has ended where a message could begin.
    ended_idle: bool,
}

impl Reader {
    pub(super) fn new(conn: OwnedConn, capacity: usize, max_line: usize) -> Self {
        Reader {
            conn,
            buffer: Buffer::new(capacity),
            max_line,
            ended_idle: false,
        }
    }

    /// Moves the reader out, with all that it has buffered. What stays behind is at its end.
    pub(super) fn detach(&mut self) -> Self {
        Reader {
            conn: self.conn.take(),
            buffer: self.buffer.detach(),
            ..*self
        }
    }

    pub(super) fn is_detached(&self) -> bool {
        self.conn.is_detached()
    }

    /// Whether another thread writes: then a line must not flush what it has buffered.
    pub(super) fn is_half(&self) -> bool {
        let state = &self.conn.state;
        state.has(Flag::Split) && !state.is_servers()
    }

    /// What has been received and not yet read.
    pub fn buffer(&self) -> &[u8] {
        self.buffer.data()
    }

    /// Receives once more, after the [buffered](Self::buffer) data, and returns how many bytes were
    /// received; 0 at the end of the stream. For parsers that need a whole message in the buffer:
    /// `fill_buf` receives only when the buffer is empty. [`consume`](BufRead::consume) removes what was
    /// parsed.
    ///
    /// ```
    /// use std::io::{self, ErrorKind};
    ///
    /// use socketserver::request::Reader;
    ///
    /// /// How long a header is, with the empty line at its end. All of it is in the buffer then.
    /// fn header_length(rfile: &mut Reader) -> io::Result<usize> {
    ///     loop {
    ///         let received = rfile.buffer();
    ///         if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
    ///             return Ok(at + 4);
    ///         }
    ///         if rfile.fill_more()? == 0 {
    ///             return Err(ErrorKind::UnexpectedEof.into());
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidData` if [`max_line`](crate::Builder::max_line) bytes are buffered already; what the socket
    /// reports, `TimedOut` after the read timeout. What had arrived stays in the buffer.
    pub fn fill_more(&mut self) -> io::Result<usize> {
        if self.buffer().len() >= self.max_line {
            return Err(self.does_not_end("a message"));
        }
        self.fill()
    }

    /// Sets the maximum length of a line from here on, in bytes, with its newline. See
    /// [`Builder::max_line`](crate::Builder::max_line).
    pub fn set_max_line(&mut self, bytes: usize) {
        self.max_line = bytes;
    }

    /// Reads up to and with the next newline, but at most `limit` bytes; empty at the end of the
    /// stream. Python's `rfile.readline(limit)`: a longer line comes in pieces, without an error.
    ///
    /// Blocks until there is a newline, `limit` bytes, or the end.
    ///
    /// # Errors
    ///
    /// What the socket reports, `TimedOut` after the read timeout. What had arrived stays in the buffer.
    pub fn readline(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let length = self.find(b'\n', limit)?.unwrap_or(limit);
        Ok(self.buffer.take(length).to_vec())
    }

    /// The length of the next piece, which ends with `delimiter` or with the stream; `None` if it is
    /// longer than `limit`.
    fn find(&mut self, delimiter: u8, limit: usize) -> io::Result<Option<usize>> {
        let mut searched = 0;
        loop {
            let data = self.buffer();
            let within = &data[..data.len().min(limit)];
            let unseen = &within[searched..];
            if let Some(at) = unseen.iter().position(|byte| *byte == delimiter) {
                return Ok(Some(searched + at + 1));
            }
            if data.len() >= limit {
                return Ok(None);
            }
            searched = within.len();
            if self.fill()? == 0 {
                return Ok(Some(self.buffer().len()));
            }
        }
    }

    /// [`find`](Self::find) with the limit `max_line`, which is an error.
    fn find_limited(&mut self, delimiter: u8) -> io::Result<usize> {
        self.find(delimiter, self.max_line)?
            .ok_or_else(|| self.does_not_end("a line"))
    }

    fn does_not_end(&self, what: &str) -> io::Error {
        let (client, limit) = (&self.conn.client_address, self.max_line);
        let message = format!("{what} from {client} does not end within {limit} bytes");
        io::Error::new(io::ErrorKind::InvalidData, message)
    }

    /// [`StreamRequest::wait_for_data`](super::StreamRequest::wait_for_data).
    pub(super) fn wait_for_data(&mut self) -> io::Result<bool> {
        if self.is_detached() {
            return Ok(!self.buffer().is_empty());
        }
        let conn = &self.conn;
        let begin = conn.received() - self.buffer().len() as u64;
        if !self.buffer().is_empty() {
            return conn.may_begin(conn.state.snapshot(), begin);
        }
        // Before the connection is idle: a client that is slow to read is not.
        conn.flush_buffer()?;
        let before = conn.state.set_idle();
        let received = match conn.may_begin(before, begin) {
            Ok(true) => conn.receive_message(&mut self.buffer),
            Ok(false) => Ok(0),
            Err(error) => Err(error),
        };
        if conn.state.is_idle() {
            conn.state.set_busy();
        }
        let received = received?;
        self.buffer.add(received);
        self.ended_idle = received == 0;
        Ok(!self.ended_idle)
    }

    pub(super) fn has_data(&self) -> bool {
        !self.buffer().is_empty() || (!self.is_detached() && self.conn.arrived().unread > 0)
    }

    pub(super) fn has_ended_idle(&self) -> bool {
        self.ended_idle
    }

    /// The next line with its end; `None` at the end of the stream.
    pub(super) fn next_line(&mut self, marks_idle: bool) -> io::Result<Option<Vec<u8>>> {
        if marks_idle && !self.wait_for_data()? {
            return Ok(None);
        }
        let length = self.find_limited(b'\n')?;
        let line = self.buffer.take(length);
        Ok((!line.is_empty()).then(|| line.to_vec()))
    }

    /// Receives once, after the buffered data. Returns 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        if self.is_detached() {
            return Ok(0);
        }
        let received = self.conn.receive(&mut self.buffer)?;
        self.buffer.add(received);
        Ok(received)
    }
}

/// As in [`io::BufReader`], a read of at least `rbufsize` bytes goes directly into the caller's buffer.
impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.buffer.is_empty() && out.len() >= self.buffer.capacity && !self.is_detached() {
            let mut out = out;
            return self.conn.receive(&mut out);
        }
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.buffer.consume(amount);
    }

    /// As in [`BufRead`], but limited by `max_line`, and a failure consumes nothing.
    fn read_until(&mut self, delimiter: u8, out: &mut Vec<u8>) -> io::Result<usize> {
        let length = self.find_limited(delimiter)?;
        out.extend_from_slice(self.buffer.take(length));
        Ok(length)
    }

    /// As in [`BufRead`], but limited by `max_line`, and a failure consumes nothing.
    fn read_line(&mut self, out: &mut String) -> io::Result<usize> {
        let length = self.find_limited(b'\n')?;
        match str::from_utf8(&self.buffer()[..length]) {
            Ok(line) => out.push_str(line),
            Err(e) => {
                let message = format!("a line from {} is not UTF-8: {e}", self.conn.client_address);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        self.consume(length);
        Ok(length)
    }
}
