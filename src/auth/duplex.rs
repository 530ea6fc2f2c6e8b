use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::AuthError;
use crate::StreamRequest;

/// A stream in both directions with a read timeout and a write timeout. Handshakes use it.
///
/// [`StreamRequest`], [`TcpStream`], [`UnixStream`] and mutable borrows of them implement it.
/// Implement it for a TLS stream or another layer over a socket, with the timeouts of the socket. For
/// readers and writers without timeouts use a pair of them.
pub trait Duplex {
    /// The reading side.
    fn reader(&mut self) -> &mut dyn Read;

    /// The writing side.
    fn writer(&mut self) -> &mut dyn Write;

    /// How long a read may block; `None` means without a limit.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// How long a write may block; `None` means without a limit.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn write_timeout(&self) -> io::Result<Option<Duration>>;

    /// Sets how long a read may block before it fails with `WouldBlock` or `TimedOut`.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets how long a write may block before it fails with `WouldBlock` or `TimedOut`.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
}

/// The four methods of `Duplex` that `$socket` has under the same names.
macro_rules! timeouts_of {
    ($self:ident => $socket:expr) => {
        fn read_timeout(&$self) -> io::Result<Option<Duration>> {
            $socket.read_timeout()
        }

        fn write_timeout(&$self) -> io::Result<Option<Duration>> {
            $socket.write_timeout()
        }

        fn set_read_timeout(&$self, timeout: Option<Duration>) -> io::Result<()> {
            $socket.set_read_timeout(timeout)
        }

        fn set_write_timeout(&$self, timeout: Option<Duration>) -> io::Result<()> {
            $socket.set_write_timeout(timeout)
        }
    };
}

macro_rules! duplex_socket {
    ($($socket:ty),*) => {$(
        impl Duplex for $socket {
            fn reader(&mut self) -> &mut dyn Read {
                self
            }

            fn writer(&mut self) -> &mut dyn Write {
                self
            }

            timeouts_of!(self => SockRef::from(self));
        }
    )*};
}

duplex_socket!(TcpStream, UnixStream);

/// Reads from `rfile`, writes to `wfile`. Nothing else in this module depends on the servers.
impl Duplex for StreamRequest {
    fn reader(&mut self) -> &mut dyn Read {
        &mut self.rfile
    }

    fn writer(&mut self) -> &mut dyn Write {
        &mut self.wfile
    }

    timeouts_of!(self => SockRef::from(self));
}

impl<D: Duplex + ?Sized> Duplex for &mut D {
    fn reader(&mut self) -> &mut dyn Read {
        (**self).reader()
    }

    fn writer(&mut self) -> &mut dyn Write {
        (**self).writer()
    }

    timeouts_of!(self => (**self));
}

/// A reader and a writer **without timeouts**, for pipes, tests, and streams whose timeouts are set already.
/// A handshake checks its own timeout between two reads, but cannot end a read that blocks.
///
/// ```
/// use socketserver::auth::Connection;
///
/// let mut sent = Vec::new();
/// Connection::new((std::io::empty(), &mut sent)).send_bytes(b"hello")?;
/// assert_eq!(sent, b"\x00\x00\x00\x05hello");
/// # Ok::<(), socketserver::auth::AuthError>(())
/// ```
impl<R: Read, W: Write> Duplex for (R, W) {
    fn reader(&mut self) -> &mut dyn Read {
        &mut self.0
    }

    fn writer(&mut self) -> &mut dyn Write {
        &mut self.1
    }

    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a handshake that must finish within `limit`, then restores the stream's timeouts.
pub(super) fn within<D: Duplex + ?Sized, T>(
    stream: &mut D,
    limit: Duration,
    handshake: impl FnOnce(&mut Timed<'_, D>) -> Result<T, AuthError>,
) -> Result<T, AuthError> {
    let before = (stream.read_timeout()?, stream.write_timeout()?);
    let result = handshake(&mut Timed {
        stream,
        limit,
        end: Instant::now().checked_add(limit),
    });
    let restored = stream
        .set_read_timeout(before.0)
        .and_then(|()| stream.set_write_timeout(before.1));
    let value = result?;
    restored?;
    Ok(value)
}

/// A stream during a handshake. Each read and write gets the remaining time as its timeout, so that a
/// peer that sends single bytes cannot extend the handshake.
pub(super) struct Timed<'a, D: ?Sized> {
    stream: &'a mut D,
    limit: Duration,
    /// `None` if the limit is longer than an `Instant` can express.
    end: Option<Instant>,
}

impl<D: Duplex + ?Sized> Timed<'_, D> {
    pub(super) fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), AuthError> {
        let mut received = 0;
        while received < buffer.len() {
            self.stream.set_read_timeout(self.remaining()?)?;
            match self.stream.reader().read(&mut buffer[received..]) {
                Ok(0) => {
                    let missing = buffer.len() - received;
                    return Err(AuthError::Truncated { missing });
                }
                Ok(n) => received += n,
                Err(error) => self.check_retry(error)?,
            }
        }
        Ok(())
    }

    pub(super) fn write_all(&mut self, mut data: &[u8]) -> Result<(), AuthError> {
        while !data.is_empty() {
            self.stream.set_write_timeout(self.remaining()?)?;
            match self.stream.writer().write(data) {
                Ok(0) => return Err(AuthError::Io(io::ErrorKind::WriteZero.into())),
                Ok(n) => data = &data[n..],
                Err(error) => self.check_retry(error)?,
            }
        }
        self.stream.set_write_timeout(self.remaining()?)?;
        let flushed = self.stream.writer().flush();
        flushed.or_else(|error| self.check_retry(error))
    }

    /// The remaining time; `None` means without a limit.
    fn remaining(&self) -> Result<Option<Duration>, AuthError> {
        let Some(end) = self.end else {
            return Ok(None);
        };
        let remaining = end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(AuthError::TimedOut(self.limit));
        }
        Ok(Some(remaining))
    }

    /// Succeeds after a signal. A timeout at the end of the handshake becomes `TimedOut`; an earlier
    /// timeout is one that the stream had before.
    fn check_retry(&self, error: io::Error) -> Result<(), AuthError> {
        /// The kernel counts in ticks of at most 10 ms, and a timeout may end one tick early.
        const TICKS: Duration = Duration::from_millis(20);
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                if self.remaining()?.is_some_and(|time| time < TICKS) =>
            {
                Err(AuthError::TimedOut(self.limit))
            }
            _ => Err(AuthError::Io(error)),
        }
    }
}
