use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::Address;
use crate::signals;

/// The connected socket under a [`StreamRequest`](super::StreamRequest), of whatever family. Made
/// by `From`.
#[derive(Debug)]
pub struct Transport(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same call on either socket.
macro_rules! on_socket {
    ($transport:expr, $socket:ident => $call:expr) => {
        match &$transport.0 {
            Kind::Tcp($socket) => $call,
            Kind::Unix($socket) => $call,
        }
    };
}

impl Transport {
    pub(super) fn is_unix(&self) -> bool {
        matches!(self.0, Kind::Unix(_))
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        on_socket!(self, socket => uninterrupted(|| (&*socket).read(buffer)))
    }

    pub(super) fn write(&self, data: &[u8]) -> io::Result<usize> {
        on_socket!(self, socket => uninterrupted(|| (&*socket).write(data)))
    }

    pub(super) fn write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        on_socket!(self, socket => uninterrupted(|| (&*socket).write_vectored(data)))
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        on_socket!(self, socket => socket.shutdown(how))
    }

    pub(super) fn read_timeout(&self) -> io::Result<Option<Duration>> {
        on_socket!(self, socket => socket.read_timeout())
    }

    pub(super) fn write_timeout(&self) -> io::Result<Option<Duration>> {
        on_socket!(self, socket => socket.write_timeout())
    }

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        on_socket!(self, socket => socket.set_read_timeout(timeout))
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        on_socket!(self, socket => socket.set_write_timeout(timeout))
    }

    /// `TCP_NODELAY`. A Unix socket has no such delay, and nothing is done.
    pub(super) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.0 {
            Kind::Tcp(socket) => socket.set_nodelay(nodelay),
            Kind::Unix(_) => Ok(()),
        }
    }

    pub(super) fn local_address(&self) -> io::Result<Address> {
        match &self.0 {
            Kind::Tcp(socket) => socket.local_addr().map(Address::from),
            Kind::Unix(socket) => socket.local_addr().map(Address::from),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_socket!(self, socket => socket.as_fd())
    }
}

impl From<TcpStream> for Transport {
    fn from(socket: TcpStream) -> Self {
        Transport(Kind::Tcp(socket))
    }
}

impl From<UnixStream> for Transport {
    fn from(socket: UnixStream) -> Self {
        Transport(Kind::Unix(socket))
    }
}

/// Goes on after a signal: with a timeout set, a blocked call is broken off by one even where
/// signal handlers restart system calls. Python does so since PEP 475.
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => signals::heed(),
            result => return result,
        }
    }
}
