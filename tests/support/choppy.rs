//! Streams that cut what goes through them into given pieces, and are interrupted by signals.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// Each call moves at most the next of `pieces` bytes, again from the first after the last; a piece
/// of 0 is a signal.
pub struct Choppy<T> {
    pub inner: T,
    /// The calls made.
    pub calls: usize,
    pieces: Vec<usize>,
}

impl<T> Choppy<T> {
    pub fn new(inner: T, mut pieces: Vec<usize>) -> Self {
        // So that there are not only signals.
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

/// Reads in pieces, and passes everything else on.
#[cfg(feature = "auth")]
pub struct ChoppyDuplex<D>(Choppy<D>);

#[cfg(feature = "auth")]
mod duplex {
    use std::io::{self, Read, Write};
    use std::time::Duration;

    use socketserver::auth::Duplex;

    use super::{Choppy, ChoppyDuplex};

    impl<D> ChoppyDuplex<D> {
        pub fn new(inner: D, pieces: Vec<usize>) -> Self {
            ChoppyDuplex(Choppy::new(inner, pieces))
        }
    }

    impl<D: Duplex> Read for ChoppyDuplex<D> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = self.0.next()?.min(out.len());
            self.0.inner.reader().read(&mut out[..most])
        }
    }

    impl<D: Duplex> Duplex for ChoppyDuplex<D> {
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
