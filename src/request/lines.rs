use std::io::{self, BufRead, Read};

use super::Reader;

/// Its lines, each of them a message. Borrows `rfile` only, so the loop can write to `wfile`.
impl<'a> IntoIterator for &'a mut Reader {
    type Item = io::Result<Vec<u8>>;
    type IntoIter = Lines<'a>;

    fn into_iter(self) -> Lines<'a> {
        Lines {
            marks_idle: !self.is_half(),
            reader: Some(self),
        }
    }
}

/// The lines up to the end of the stream. An error ends the iterator.
#[derive(Debug)]
pub struct Lines<'a> {
    reader: Option<&'a mut Reader>,
    marks_idle: bool,
}

impl Iterator for Lines<'_> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_deref_mut()?;
        let line = reader.next_line(self.marks_idle);
        if !matches!(line, Ok(Some(_))) {
            self.reader = None;
        }
        line.transpose()
    }
}

/// The reading half of a [split](super::StreamRequest::split) connection.
///
/// It reads as [`Reader`] does, but its lines never mark the connection idle, and its reads do not flush
/// `wfile`: another thread writes.
#[derive(Debug)]
pub struct ReadHalf<'a>(pub(super) &'a mut Reader);

impl ReadHalf<'_> {
    /// [`Reader::readline`].
    ///
    /// # Errors
    ///
    /// Those of [`Reader::readline`].
    pub fn readline(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        self.0.readline(limit)
    }

    /// [`Reader::buffer`].
    pub fn buffer(&self) -> &[u8] {
        self.0.buffer()
    }

    /// [`Reader::fill_more`].
    ///
    /// # Errors
    ///
    /// Those of [`Reader::fill_more`].
    pub fn fill_more(&mut self) -> io::Result<usize> {
        self.0.fill_more()
    }
}

impl<'a> IntoIterator for &'a mut ReadHalf<'_> {
    type Item = io::Result<Vec<u8>>;
    type IntoIter = Lines<'a>;

    fn into_iter(self) -> Lines<'a> {
        Lines {
            reader: Some(&mut *self.0),
            marks_idle: false,
        }
    }
}

impl Read for ReadHalf<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl BufRead for ReadHalf<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }

    fn read_until(&mut self, delimiter: u8, out: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_until(delimiter, out)
    }

    fn read_line(&mut self, out: &mut String) -> io::Result<usize> {
        self.0.read_line(out)
    }
}
