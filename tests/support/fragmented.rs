//! Streams that transfer data in pieces of given sizes, with interrupted calls in between.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// Each call transfers at most the next of `pieces` bytes. After the last piece, the list starts
/// again. A piece of 0 bytes is a call that a signal interrupts.
pub struct Fragmented<T> {
    pub inner: T,
    /// How often `read` or `write` was called.
    pub calls: usize,
    pieces: Vec<usize>,
}

impl<T> Fragmented<T> {
    pub fn new(inner: T, mut pieces: Vec<usize>) -> Self {
        // At least one call transfers data.
        pieces.push(1);
        Fragmented {
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

impl<T: Read> Read for Fragmented<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.next()?.min(out.len());
        self.inner.read(&mut out[..most])
    }
}

impl<T: Write> Write for Fragmented<T> {
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

/// Reads in pieces. Everything else is passed on unchanged.
#[cfg(feature = "auth")]
pub struct FragmentedDuplex<D>(Fragmented<D>);

#[cfg(feature = "auth")]
mod duplex {
    use std::io::{self, Read, Write};
    use std::time::Duration;

    use socketserver::auth::Duplex;

    use super::{Fragmented, FragmentedDuplex};

    impl<D> FragmentedDuplex<D> {
        pub fn new(inner: D, pieces: Vec<usize>) -> Self {
            FragmentedDuplex(Fragmented::new(inner, pieces))
        }
    }

    impl<D: Duplex> Read for FragmentedDuplex<D> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = self.0.next()?.min(out.len());
            self.0.inner.reader().read(&mut out[..most])
        }
    }

    impl<D: Duplex> Duplex for FragmentedDuplex<D> {
        fn reader(&mut self) -> &mut dyn Read {
            self
        }

        fn writer(&mut self) -> &mut dyn Write {
            self.0.inner.writer()
        }

        fn read_timeout(&self) -> io::Result<Option<Duration>> {
            self.0.inner.read_timeout()
        }

        fn write_timeout(&self) -> io::Result<Option<Duration>> {
            self.0.inner.write_timeout()
        }

        fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.inner.set_read_timeout(timeout)
        }

        fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.0.inner.set_write_timeout(timeout)
        }
    }
}
