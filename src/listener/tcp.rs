use std::fmt::Debug;
use std::io;
#[cfg(target_os = "linux")]
use std::net::Shutdown;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{bind_ip, cannot_listen_ip, check_kind, has_timeout, open_each, open_ip};
use super::{Bind, Listener, SocketOptions};
use crate::request::{StreamRequest, Transport};
use crate::{Address, ServerHandle};

/// Connections over IPv4 or IPv6. Python's `TCPServer`.
///
/// If the address is in use, the error distinguishes a program that listens on it from old connections
/// in `TIME_WAIT`. To find out, bind connects to the address once.
#[derive(Debug)]
pub struct Tcp {
    socket: TcpListener,
    /// The address to bind; `None` for an adopted socket.
    requested: Option<SocketAddr>,
    backlog: i32,
    /// Its connections inherit a timeout that the program has set.
    has_timeout: bool,
}

impl Listener for Tcp {
    type Request = StreamRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        match self.requested {
            Some(address) if address.port() == 0 => self.bind_free_port(address),
            Some(address) => bind_ip(&SockRef::from(&self.socket), address),
            None => Ok(()),
        }
    }

    #[cfg(feature = "restart")]
    fn server_take_over(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.socket = socket.into();
        Ok(())
    }

    fn set_options(&mut self, options: &SocketOptions) {
        self.backlog = options.request_queue_size;
    }

    /// Only a socket that listens gets `SO_REUSEADDR` here: until then another one with it could bind the
    /// same port, and listen first.
    fn server_activate(&mut self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        check_kind(&socket, Type::STREAM, false)?;
        self.listen()?;
        self.allow_reactivation()?;
        self.has_timeout = has_timeout(&socket);
        self.socket.set_nonblocking(true)
    }

    /// On Linux, `shutdown` of a listening socket closes the connections in its backlog and refuses
    /// new ones. The socket stays bound if its port was requested by number, and without
    /// `SO_REUSEADDR` no other server can bind it. An adopted socket is left as it is, because other
    /// processes may share it.
    #[cfg(target_os = "linux")]
    fn server_deactivate(&self) -> io::Result<()> {
        if self.requested.is_none() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = SockRef::from(&self.socket);
        // First: a client that is refused may bind the port at once.
        socket.set_reuse_address(false)?;
        socket.shutdown(Shutdown::Read)
    }

    fn server_reactivate(&self) -> io::Result<()> {
        self.allow_reactivation()?;
        self.listen()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        // Another holder of the socket may have made it blocking.
        self.socket.set_nonblocking(true)?;
        let (stream, client_address) = self.socket.accept()?;
        // On other systems the connection inherits the listener's non-blocking mode.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        stream.set_nonblocking(false)?;
        Ok(StreamRequest::from_transport(
            Transport::accepted(stream.into(), self.has_timeout),
            Address::Ip(client_address),
            server,
        ))
    }

    fn local_address(&self) -> io::Result<Address> {
        match (self.socket.local_addr()?, self.requested) {
            // Port 0 means that the socket is not bound yet.
            (local, Some(requested)) if local.port() == 0 => Ok(requested.into()),
            (local, _) => Ok(local.into()),
        }
    }
}

impl Tcp {
    /// Finds a free port, then binds it by number: Linux frees a port that it chose itself when the
    /// socket stops listening.
    ///
    /// `SO_REUSEADDR` is off meanwhile, on Linux until the socket listens. With it two servers could bind
    /// the same free port, and the second one would fail in `listen`.
    fn bind_free_port(&self, address: SocketAddr) -> io::Result<()> {
        const MAX_ATTEMPTS: usize = 100;
        let socket = SockRef::from(&self.socket);
        let reuse = socket.reuse_address()?;
        socket.set_reuse_address(false)?;
        let mut bound = Ok(());
        for _ in 0..MAX_ATTEMPTS {
            bound = socket.bind(&free_port(address)?.into());
            // Another program may have bound the port in between.
            if !matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        bound.map_err(|e| cannot_listen_ip(e, &socket, address))?;
        socket.set_reuse_address(reuse && !cfg!(target_os = "linux"))
    }

    fn listen(&self) -> io::Result<()> {
        let address = self.socket.local_addr()?;
        let socket = SockRef::from(&self.socket);
        socket
            .listen(self.backlog)
            .map_err(|e| cannot_listen_ip(e, &socket, address))
    }

    /// On Linux this sets `SO_REUSEADDR`, regardless of the option for bind. Connections inherit it. A
    /// connection without it, even one in `TIME_WAIT`, would keep `server_reactivate` from listening
    /// again.
    fn allow_reactivation(&self) -> io::Result<()> {
        if cfg!(target_os = "linux") && self.requested.is_some() {
            SockRef::from(&self.socket).set_reuse_address(true)?;
        }
        Ok(())
    }
}

fn free_port(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    bind_ip(&socket, address)?;
    let port = TcpListener::from(socket).local_addr()?.port();
    Ok(SocketAddr::new(address.ip(), port))
}

impl<A: ToSocketAddrs + Debug> Bind<A> for Tcp {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        open_each(address, |address| {
            let socket = open_ip(address, Type::STREAM, options)?;
            Ok(Tcp {
                socket: socket.into(),
                requested: Some(address),
                backlog: options.request_queue_size,
                has_timeout: false,
            })
        })
    }
}

/// Adopts a bound socket, which may already listen. It becomes non-blocking before each `accept`, and so
/// do its duplicates.
impl From<TcpListener> for Tcp {
    fn from(socket: TcpListener) -> Self {
        Tcp {
            socket,
            requested: None,
            backlog: SocketOptions::default().request_queue_size,
            has_timeout: false,
        }
    }
}

/// [`adopt`](crate::Builder::adopt) checks the type of the socket.
impl From<OwnedFd> for Tcp {
    fn from(socket: OwnedFd) -> Self {
        TcpListener::from(socket).into()
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
