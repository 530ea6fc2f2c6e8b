use std::io::{self, BufRead, Read};

use httparse::Status;

use crate::body::or_end;

/// The limits of a chunk's size line and of the trailers after the last chunk, in bytes.
const MAX_LINE: u64 = 8_192;
const MAX_TRAILER: u64 = 65_536;

/// A chunked body: RFC 9112, section 7.1. Extensions and trailers are skipped.
///
/// The crate `httparse` parses the sizes. `chunked_transfer` 1.5 is not used: it accepts a body that
/// ends inside a chunk, refuses trailers, and has no limit for a size line.
pub struct Chunks<'a, R> {
    source: R,
    state: State,
    peer: &'a str,
}

enum State {
    /// Before a chunk's size.
    Size,
    /// Within a chunk, with this many bytes left.
    Data(u64),
    /// After the last chunk.
    End,
}

impl<'a, R: BufRead> Chunks<'a, R> {
    pub fn new(source: R, peer: &'a str) -> Self {
        Chunks {
            source,
            state: State::Size,
            peer,
        }
    }

    fn read_size(&mut self) -> io::Result<State> {
        let line = self.read_line(MAX_LINE)?;
        let size = match httparse::parse_chunk_size(&line) {
            // The parser reads a line without digits as zero.
            Ok(Status::Complete((_, size))) if line[0].is_ascii_hexdigit() => size,
            _ => return Err(self.malformed("a chunk has no valid size")),
        };
        if size > 0 {
            return Ok(State::Data(size));
        }
        self.skip_trailer()?;
        Ok(State::End)
    }

    fn skip_trailer(&mut self) -> io::Result<()> {
        let mut left = MAX_TRAILER;
        loop {
            let line = self.read_line(left)?;
            if line == b"\r\n" || line == b"\n" {
                return Ok(());
            }
            left -= line.len() as u64;
        }
    }

    fn read_data(&mut self, left: u64, out: &mut [u8]) -> io::Result<usize> {
        let received = or_end((&mut self.source).take(left).read(out))?;
        if received == 0 && !out.is_empty() {
            return Err(self.truncated());
        }
        let left = left - received as u64;
        self.state = State::Data(left);
        if left == 0 {
            self.read_end()?;
            self.state = State::Size;
        }
        Ok(received)
    }

    /// The line end after a chunk.
    fn read_end(&mut self) -> io::Result<()> {
        let mut end = Vec::new();
        or_end((&mut self.source).take(2).read_to_end(&mut end))?;
        match &*end {
            b"\r\n" => Ok(()),
            b"" | b"\r" => Err(self.truncated()),
            _ => Err(self.malformed("a chunk is longer than its size")),
        }
    }

    /// A line with its end, of at most `max` bytes.
    fn read_line(&mut self, max: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let read = (&mut self.source).take(max).read_until(b'\n', &mut line);
        or_end(read)?;
        match line.last() {
            Some(b'\n') => Ok(line),
            _ if line.len() as u64 == max => {
                Err(self.malformed(&format!("a line does not end within {max} bytes")))
            }
            _ => Err(self.truncated()),
        }
    }

    fn truncated(&self) -> io::Error {
        let message = format!("the body from {} ended before its last chunk", self.peer);
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    }

    fn malformed(&self, what: &str) -> io::Error {
        let message = format!(
            "the body from {} is not chunked as it should be: {what}",
            self.peer
        );
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl<R: BufRead> Read for Chunks<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let State::Size = self.state {
            self.state = self.read_size()?;
        }
        match self.state {
            State::Data(left) => self.read_data(left, out),
            State::Size | State::End => Ok(0),
        }
    }
}
