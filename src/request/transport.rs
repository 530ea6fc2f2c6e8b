use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::SockRef;

use crate::Address;
use crate::sys::{self, MSG_DONTWAIT, MSG_PEEK, signals};

/// The connected socket of a request, over TCP or a Unix socket.
#[derive(Debug)]
pub(crate) struct Transport(Kind);

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

    /// Peeks at the next byte, which stays in the socket. Returns 0 at the end of the stream.
    pub(super) fn peek(&self, flags: i32) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        uninterrupted(|| SockRef::from(self).recv_with_flags(&mut byte, MSG_PEEK | flags))
    }

    /// Closing a socket with unread input sends a reset, which can destroy the reply on its way (RFC
    /// 1122, 4.2.2.13). So received data is discarded before, up to a limit.
    pub(super) fn discard_input(&self) {
        const LIMIT: usize = 65_536;
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let mut discarded = 0;
        while let Ok(n) = SockRef::from(self).recv_with_flags(&mut scratch, MSG_DONTWAIT) {
            discarded += n;
            if n == 0 || discarded >= LIMIT {
                break;
            }
        }
    }

    /// So that the client does not treat truncated data as complete. A Unix socket has no
    /// resets: the stream ends.
    pub(super) fn reset(&self) {
        if self.is_unix() || sys::reset(self).is_err() {
            let _ = self.shutdown(Shutdown::Both);
        }
    }

    /// For systems where `reset` cannot: without it a client that floods would keep kernel memory for
    /// minutes.
    pub(super) fn reset_on_close(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
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

/// A socket of a listener of the user's own.
impl From<OwnedFd> for Transport {
    fn from(socket: OwnedFd) -> Self {
        let address = SockRef::from(&socket).local_addr();
        if address.is_ok_and(|address| address.is_unix()) {
            Transport(Kind::Unix(socket.into()))
        } else {
            Transport(Kind::Tcp(socket.into()))
        }
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

/// Repeats a call that a signal has interrupted. A socket with a timeout is interrupted even where signal
/// handlers restart system calls. Python repeats calls too, since PEP 475.
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => signals::run_pending(),
            result => return result,
        }
    }
}
