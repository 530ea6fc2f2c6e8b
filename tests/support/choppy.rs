//! A stream that cuts what goes through it into given pieces, and is interrupted by signals.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// Each call moves at most the next of `pieces` bytes, round and round; a piece of 0 is a signal.
pub struct Choppy<T> {
    pub inner: T,
    /// The calls made.
    pub calls: usize,
    pieces: Vec<usize>,
}

impl<T> Choppy<T> {
    pub fn new(inner: T, mut pieces: Vec<usize>) -> Self {
        // So that it never is signals only.
        pieces.push(1);
        Choppy {
            inner,
            calls: 0,
            pieces,
        }
    }

    fn next(&mut self) -> io::Result<usize> {
        let piece = self.pieces[self.calls % self.pieces.len()];
        self.calls += 1;
        match piece {
            0 => Err(ErrorKind::Interrupted.into()),
            n => Ok(n),
        }
    }
}

impl<T: Read> Read for Choppy<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.next()?.min(out.len());
        self.inner.read(&mut out[..most])
    }
}

impl<T: Write> Write for Choppy<T> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = self.next()?;
        let mut written = 0;
        for part in data {
            let n = left.min(part.len());
            self.inner.write_all(&part[..n])?;
            written += n;
            left -= n;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
