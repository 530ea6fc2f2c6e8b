<<<<<<< HEAD
//! A stream that arrives in pieces, as the network pleases.

use std::io::{self, Read, Write};
use std::time::Duration;

use socketserver::auth::Duplex;

/// Passes everything on to `inner`, but reads at most the next of `sizes` at a time. A size of 0 is a
/// signal that interrupts the read.
pub struct Choppy<D> {
    inner: D,
    sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
}

impl<D> Choppy<D> {
    pub fn new(inner: D, mut sizes: Vec<usize>) -> Self {
        // So that something arrives in the end.
        sizes.push(1);
        Choppy {
            inner,
            sizes: sizes.into_iter().cycle(),
=======
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
>>>>>>> work-d
        }
    }
}

<<<<<<< HEAD
impl<D: Duplex> Read for Choppy<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().expect("a cycle goes on");
        if size == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(size);
        self.inner.reader().read(&mut buffer[..most])
    }
}

impl<D: Duplex> Duplex for Choppy<D> {
    fn reader(&mut self) -> &mut dyn Read {
        self
    }

    fn writer(&mut self) -> &mut dyn Write {
        self.inner.writer()
    }

    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.read_timeout()
    }

    fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.inner.write_timeout()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_write_timeout(timeout)
=======
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
>>>>>>> work-d
    }
}
