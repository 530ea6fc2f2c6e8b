use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{cannot_listen, check_kind, unix_address};
use super::socket_path::SocketPath;
use super::{Bind, Listener, SocketOptions};
use crate::request::StreamRequest;
use crate::{Address, ServerHandle};

/// Connections over a Unix socket. Python's `UnixStreamServer`.
///
/// The path is removed on close if the socket there is still ours. At bind, a socket that a killed
/// server left behind is replaced; one that is listened on, or a file that is no socket, is an
/// error (`AddrInUse`).
#[derive(Debug)]
pub struct Unix {
    // Dropped first: a client then finds no socket rather than one that refuses it.
    path: Option<SocketPath>,
    socket: UnixListener,
    /// Where to bind, and the backlog; `None` for a socket that was adopted.
    wanted: Option<(Address, i32)>,
}

impl Listener for Unix {
    type Request = StreamRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        if let Some((address, _)) = &self.wanted {
            self.path = SocketPath::bind(&SockRef::from(&self.socket), address, Type::STREAM)?;
        }
        Ok(())
    }

    fn server_activate(&mut self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        check_kind(&socket, Type::STREAM, true)?;
        let backlog = self
            .wanted
            .as_ref()
            .map_or(i32::MAX, |(_, backlog)| *backlog);
        let address = self.local_address()?;
        socket
            .listen(backlog)
            .map_err(|e| cannot_listen(e, &address))?;
        self.socket.set_nonblocking(true)
    }

    /// Moves the path aside and hangs up on who waits. Shutting the socket down would refuse clients
    /// too, but cannot be undone.
    fn server_deactivate(&self) -> io::Result<()> {
        let path = self.path.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        path.move_aside()?;
        while self.socket.accept().is_ok() {}
        Ok(())
    }

    fn server_reactivate(&self) -> io::Result<()> {
        self.path.as_ref().map_or(Ok(()), SocketPath::move_back)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let (stream, client_address) = self.socket.accept()?;
        // Elsewhere it is born with the listener's mode.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        stream.set_nonblocking(false)?;
        Ok(StreamRequest::new(stream, client_address.into(), server))
    }

    fn local_address(&self) -> io::Result<Address> {
        match &self.wanted {
            Some((address, _)) => Ok(address.clone()),
            None => self.socket.local_addr().map(Address::from),
        }
    }
}

impl<A: AsRef<Path>> Bind<A> for Unix {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        let address = unix_address(address.as_ref())?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let wanted = Some((address, options.request_queue_size));
        Ok(vec![Unix {
            path: None,
            socket: socket.into(),
            wanted,
        }])
    }
}

/// Adopts a socket that is bound already, listening or not. It is made non-blocking, and so are its
/// duplicates. Its path is left to whoever bound it.
impl From<UnixListener> for Unix {
    fn from(socket: UnixListener) -> Self {
        Unix {
            path: None,
            socket,
            wanted: None,
        }
    }
}

impl AsFd for Unix {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
