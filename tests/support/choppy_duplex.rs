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
        }
    }
}

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
    }
}
