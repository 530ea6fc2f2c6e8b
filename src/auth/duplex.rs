use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::SockRef;

use crate::StreamRequest;

/// A stream in both directions that can be told how long to block: what a handshake runs over.
///
/// [`StreamRequest`], [`TcpStream`] and [`UnixStream`] are, and a mutable borrow of one. For TLS or
/// another layer on top of a socket implement it, with the socket's timeouts; for readers and
/// writers without any there is [`Untimed`].
pub trait Duplex {
    /// Where to read from.
    fn reader(&mut self) -> &mut dyn Read;

    /// Where to write to.
    fn writer(&mut self) -> &mut dyn Write;

    /// How long a read may block; `None` for ever.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn read_timeout(&self) -> io::Result<Option<Duration>>;

    /// How long a write may block; `None` for ever.
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

/// The four methods that a socket has already, under the same names.
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

/// The one place in this module that knows of the server: reads `rfile`, writes to `wfile`.
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

/// Any reader and writer as a [`Duplex`] **that cannot be told how long to block**: a handshake
/// looks at the clock between its reads, but does not end one that blocks.
///
/// For pipes and tests, and for streams whose timeouts are set already.
///
/// ```
/// use socketserver::auth::{Connection, Untimed};
///
/// let mut sent = Vec::new();
/// Connection::new(Untimed::new(std::io::empty(), &mut sent)).send_bytes(b"hello")?;
/// assert_eq!(sent, b"\x00\x00\x00\x05hello");
/// # Ok::<(), socketserver::auth::AuthError>(())
/// ```
#[derive(Debug)]
pub struct Untimed<R, W> {
    /// Where to read from.
    pub reader: R,
    /// Where to write to.
    pub writer: W,
}

impl<R: Read, W: Write> Untimed<R, W> {
    /// Puts the two together.
    pub fn new(reader: R, writer: W) -> Self {
        Untimed { reader, writer }
    }
}

impl<R: Read, W: Write> Duplex for Untimed<R, W> {
    fn reader(&mut self) -> &mut dyn Read {
        &mut self.reader
    }

    fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
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
