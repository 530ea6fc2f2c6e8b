use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use url::Url;

use crate::tls;
use crate::wire::Wire;

/// The connection to the server, with or without TLS.
pub enum Connection {
    Plain(Wire),
    Tls(Box<StreamOwned<ClientConnection, Wire>>),
}

impl Connection {
    /// Connects to the URL's host and port, and verifies the server's certificate if the scheme is
    /// `https`.
    pub fn open(url: &Url, cafile: Option<&Path>, timeout: Duration) -> io::Result<Self> {
        let (Some(host), Some(name), Some(port)) =
            (url.host(), url.host_str(), url.port_or_known_default())
        else {
            return Err(io::Error::other(format!("there is no host in {url}")));
        };
        if url.scheme() == "http" {
            return Wire::connect(name, port, timeout).map(Connection::Plain);
        }
        let config = tls::config(cafile)?;
        let wire = Wire::connect(name, port, timeout)?;
        let stream = tls::handshake(wire, host, config)?;
        Ok(Connection::Tls(Box::new(stream)))
    }

    /// The host and its address, for messages.
    pub fn peer(&self) -> &str {
        match self {
            Connection::Plain(wire) => &wire.peer,
            Connection::Tls(stream) => &stream.sock.peer,
        }
    }

    /// See [`Wire::end_deadline`].
    pub fn end_deadline(&mut self) -> io::Result<()> {
        match self {
            Connection::Plain(wire) => wire.end_deadline(),
            Connection::Tls(stream) => stream.sock.end_deadline(),
        }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let message = match inner {
            Some::<&rustls::Error>(broken) => format!("TLS with {}: {broken}", self.peer()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => format!(
                "{} ended the connection without TLS's close_notify, so something may be missing",
                self.peer()
            ),
            None => return error,
        };
        io::Error::new(error.kind(), message)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = match self {
            Connection::Plain(wire) => wire.read(buffer),
            Connection::Tls(stream) => stream.read(buffer),
        };
        received.map_err(|e| self.explain(e))
    }
}

impl Write for Connection {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Plain(wire) => wire.write(data),
            Connection::Tls(stream) => stream.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Plain(wire) => wire.flush(),
            Connection::Tls(stream) => stream.flush(),
        }
    }
}
