use std::io::{self, BufRead, Read};
use std::mem;
use std::str;
use std::sync::Arc;

use super::link::Link;
use super::owner::Owned;

/// A request's `rfile`: a buffered reader of the connection.
///
/// It is Python's `rfile` and `recv` in one, so the two mix freely: [`read`](Read::read) is `recv`,
/// and takes what is buffered first.
///
/// Before a read waits for the client, it sends what [`wfile`](super::Writer) has buffered, and
/// reports what goes wrong there.
///
/// Lines are bounded. Where [`BufRead`] would go on for ever, [`read_line`](BufRead::read_line),
/// [`read_until`](BufRead::read_until) and a loop over its lines fail with `InvalidData` once a
/// line is longer than [`max_line`](crate::Builder::max_line), 64 KiB unless told otherwise.
///
/// **A line read that fails takes nothing.** After a line that is too long or not UTF-8, a timeout
/// or a reset, all that had arrived is still there to be read again in another way; a line
/// that is too long is passed over with [`skip_until`](BufRead::skip_until).
///
/// ```
/// use socketserver::prelude::*;
///
/// struct Greeter;
///
/// impl RequestHandler for Greeter {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         for name in &mut request.rfile {
///             writeln!(request.wfile, "Hello, {}!", name?)?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Reader {
    link: Arc<Link>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    capacity: usize,
    max_line: usize,
    /// `None` once the connection is detached.
    owned: Option<Arc<Owned>>,
}

impl Reader {
    pub(super) fn new(
        link: &Arc<Link>,
        owned: &Arc<Owned>,
        capacity: usize,
        max_line: usize,
    ) -> Self {
        Reader {
            link: Arc::clone(link),
            owned: Some(Arc::clone(owned)),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            capacity,
            max_line,
        }
    }

    /// Moves the reader out, with all that it has buffered. What stays behind is at its end.
    pub(super) fn detach(&mut self) -> Self {
        let (start, end) = (mem::take(&mut self.start), mem::take(&mut self.end));
        Reader {
            link: Arc::clone(&self.link),
            owned: self.owned.take(),
            buffer: mem::take(&mut self.buffer),
            start,
            end,
            ..*self
        }
    }

    pub(super) fn is_detached(&self) -> bool {
        self.owned.is_none()
    }

    /// What has been received and not yet read.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Receives once more, behind what is [buffered](Self::buffer), and returns how many bytes
    /// came; 0 at the end of the stream. For parsers that are given what is there, and say whether
    /// that is all: `fill_buf` receives only when nothing is left. What was parsed is taken with
    /// [`consume`](BufRead::consume).
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
    /// `InvalidData` if as much as a line may have, [`max_line`](crate::Builder::max_line), is
    /// buffered already; what the socket reports, `TimedOut` after the read timeout. What had
    /// arrived stays.
    pub fn fill_more(&mut self) -> io::Result<usize> {
        if self.buffer().len() >= self.max_line {
            return Err(self.does_not_end("what came"));
        }
        self.fill()
    }

    /// Sets the longest line taken from here on, in bytes and with its newline. See
    /// [`Builder::max_line`](crate::Builder::max_line).
    pub fn set_max_line(&mut self, bytes: usize) {
        self.max_line = bytes;
    }

    /// Reads up to and with the next newline, but at most `limit` bytes; empty at the end of the
    /// stream. Python's `rfile.readline(limit)`: what is longer comes in pieces, and is no error.
    ///
    /// Blocks until there is a newline, `limit` bytes, or the end.
    ///
    /// # Errors
    ///
    /// What the socket reports, `TimedOut` after the read timeout. What had arrived stays.
    pub fn readline(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let length = self.find(b'\n', limit)?.unwrap_or(limit);
        Ok(self.take(length).to_vec())
    }

    /// The length of the next piece that ends with `delimiter` or with the stream; `None` if it is
    /// over `limit`.
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

    /// The same for the methods whose bound is `max_line`.
    fn find_bounded(&mut self, delimiter: u8) -> io::Result<usize> {
        self.find(delimiter, self.max_line)?
            .ok_or_else(|| self.does_not_end("a line"))
    }

    fn does_not_end(&self, what: &str) -> io::Error {
        let (client, most) = (&self.link.client_address, self.max_line);
        let message = format!("{what} from {client} does not end within {most} bytes");
        io::Error::new(io::ErrorKind::InvalidData, message)
    }

    /// Receives the first bytes of a request, after as long as the connection may be idle. Returns
    /// false at the end of the stream.
    pub(super) fn wait(&mut self) -> io::Result<bool> {
        Ok(self.fill_by(Link::receive_request)? > 0)
    }

    /// Receives once, behind what is buffered. Returns 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        self.fill_by(Link::receive)
    }

    fn fill_by(
        &mut self,
        receive: impl FnOnce(&Link, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_detached() {
            return Ok(0);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer
                .resize((self.end * 2).max(self.capacity).max(1), 0);
        }
        // Without a buffer nothing may be taken ahead, and a line is read byte by byte, as in
        // Python.
        let most = if self.capacity == 0 {
            self.end + 1
        } else {
            self.buffer.len()
        };
        let received = receive(&self.link, &mut self.buffer[self.end..most])?;
        self.end += received;
        Ok(received)
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let taken = self.start..self.start + length;
        self.start = taken.end;
        &self.buffer[taken]
    }
}

/// Python's `for line in self.rfile` is `for line in &mut request.rfile`. It borrows `rfile` alone,
/// so the loop can write to `wfile`. See [`Lines`].
impl<'a> IntoIterator for &'a mut Reader {
    type Item = io::Result<String>;
    type IntoIter = Lines<'a>;

    fn into_iter(self) -> Lines<'a> {
        Lines { reader: Some(self) }
    }
}

/// The lines up to the end of the stream, without their ends (`\n` or `\r\n`).
///
/// Each may be an error instead, one of [`read_line`](BufRead::read_line)'s, and is the last one
/// then: a loop that passes over errors ends too.
#[derive(Debug)]
pub struct Lines<'a> {
    reader: Option<&'a mut Reader>,
}

impl Iterator for Lines<'_> {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.reader.as_mut()?.lines().next();
        if !matches!(line, Some(Ok(_))) {
            self.reader = None;
        }
        line
    }
}

/// Like [`io::BufReader`], a read of at least `rbufsize` bytes goes straight into the caller's
/// buffer.
impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.start == self.end && out.len() >= self.capacity && !self.is_detached() {
            return self.link.receive(out);
        }
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.fill()?;
        }
        Ok(self.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// As in [`BufRead`], but bounded by `max_line`, and nothing is taken when it fails.
    fn read_until(&mut self, delimiter: u8, out: &mut Vec<u8>) -> io::Result<usize> {
        let length = self.find_bounded(delimiter)?;
        out.extend_from_slice(self.take(length));
        Ok(length)
    }

    /// As in [`BufRead`], but bounded by `max_line`, and nothing is taken when it fails.
    fn read_line(&mut self, out: &mut String) -> io::Result<usize> {
        let length = self.find_bounded(b'\n')?;
        match str::from_utf8(&self.buffer()[..length]) {
            Ok(line) => out.push_str(line),
            Err(e) => {
                let message = format!("a line from {} is not UTF-8: {e}", self.link.client_address);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        self.consume(length);
        Ok(length)
    }
}
