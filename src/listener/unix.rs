use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{
    cannot_listen_unix, check_kind, check_unix, has_timeout, local_unix_address, unix_address,
};
use super::socket_path::SocketPath;
use super::{Bind, Listener, SocketOptions};
use crate::request::{StreamRequest, Transport};
use crate::{Address, ServerHandle};

/// Connections over a Unix socket. Python's `UnixStreamServer`.
///
/// On close the server removes the path if its own socket is still there. On bind it replaces a
/// stale socket, which a killed server leaves behind. If a program has bound the path, even if it does not
/// listen yet, or the path is a file that is not a socket, bind fails with `AddrInUse`.
///
/// Of several servers that bind the path at once, one succeeds. While a server replaces a stale
/// socket, there is an empty file beside the path, with `.bind-lock` after its name, which is the lock. If the
/// process is killed at that moment, the file stays until a server of the same user replaces a stale socket
/// there; it locks nothing. If another process holds the lock for 5 s, bind fails with `AddrInUse`.
#[derive(Debug)]
pub struct Unix {
    /// The first field, so that it is dropped before the socket: a client then finds no path, instead
    /// of a path that refuses it.
    path: Option<SocketPath>,
    socket: UnixListener,
    /// The address to bind; `None` for an adopted socket.
    requested: Option<Address>,
    backlog: i32,
    /// Its connections inherit a timeout that the program has set.
    has_timeout: bool,
}

impl Listener for Unix {
    type Request = StreamRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        if let Some(address) = &self.requested {
            self.path = SocketPath::bind(&SockRef::from(&self.socket), address)?;
        }
        Ok(())
    }

    #[cfg(feature = "restart")]
    fn server_take_over(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.socket = socket.into();
        let address = self.requested.as_ref();
        self.path = address.map_or(Ok(None), SocketPath::take_over)?;
        Ok(())
    }

    fn set_options(&mut self, options: &SocketOptions) {
        self.backlog = options.request_queue_size;
    }

    fn server_activate(&mut self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        check_kind(&socket, Type::STREAM, true)?;
        let address = self.local_address()?;
        socket
            .listen(self.backlog)
            .map_err(|e| cannot_listen_unix(e, &address))?;
        self.has_timeout = has_timeout(&socket);
        self.socket.set_nonblocking(true)
    }

    /// Renames the path and closes the connections in the backlog. `shutdown` on the socket would
    /// refuse clients too, but cannot be undone.
    fn server_deactivate(&self) -> io::Result<()> {
        let path = self.path.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        path.close()?;
        // Clients that know the new path cannot keep the accept loop here.
        const MAX_CLOSED: usize = 10_000;
        let accepted = std::iter::repeat_with(|| self.try_accept()).take(MAX_CLOSED);
        accepted.take_while(Result::is_ok).for_each(drop);
        Ok(())
    }

    fn server_reactivate(&self) -> io::Result<()> {
        self.path.as_ref().map_or(Ok(()), SocketPath::reopen)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let (stream, client_address) = self.try_accept()?;
        // On other systems the connection inherits the listener's non-blocking mode.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        stream.set_nonblocking(false)?;
        Ok(StreamRequest::from_transport(
            Transport::accepted(stream.into(), self.has_timeout),
            client_address.into(),
            server,
        ))
    }

    fn local_address(&self) -> io::Result<Address> {
        local_unix_address(&SockRef::from(&self.socket), self.requested.as_ref())
    }
}

impl Unix {
    fn try_accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        // Another holder of the socket may have made it blocking.
        self.socket.set_nonblocking(true)?;
        self.socket.accept()
    }

    fn open_at(requested: Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        Ok(vec![Unix {
            path: None,
            socket: socket.into(),
            requested: Some(requested),
            backlog: options.request_queue_size,
            has_timeout: false,
        }])
    }
}

impl<A: AsRef<Path>> Bind<A> for Unix {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        Self::open_at(unix_address(address.as_ref())?, options)
    }
}

impl Bind<&Address> for Unix {
    fn open(address: &Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        Self::open_at(check_unix(address)?, options)
    }
}

impl Bind<Address> for Unix {
    fn open(address: Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        Self::open(&address, options)
    }
}

/// Adopts a bound socket, which may already listen. It becomes non-blocking before each `accept`, and so
/// do its duplicates. Its path is not removed on close.
impl From<UnixListener> for Unix {
    fn from(socket: UnixListener) -> Self {
        Unix {
            path: None,
            socket,
            requested: None,
            backlog: SocketOptions::default().request_queue_size,
            has_timeout: false,
        }
    }
}

/// [`adopt`](crate::Builder::adopt) checks the type of the socket.
impl From<OwnedFd> for Unix {
    fn from(socket: OwnedFd) -> Self {
        UnixListener::from(socket).into()
    }
}

impl AsFd for Unix {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
