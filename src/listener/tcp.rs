use std::fmt::Debug;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{bind_ip, cannot_listen, check_kind, open_each, open_ip};
use super::{Bind, Listener, SocketOptions};
use crate::request::StreamRequest;
use crate::{Address, ServerHandle};

/// Connections over IPv4 or IPv6. Python's `TCPServer`.
#[derive(Debug)]
pub struct Tcp {
    socket: TcpListener,
    /// Where to bind, and the backlog; `None` for a socket that was adopted.
    wanted: Option<(SocketAddr, i32)>,
}

impl Listener for Tcp {
    type Request = StreamRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        match self.wanted {
            Some((address, _)) if address.port() == 0 => self.bind_free_port(address),
            Some((address, _)) => bind_ip(&SockRef::from(&self.socket), address),
            None => Ok(()),
        }
    }

    fn server_activate(&mut self) -> io::Result<()> {
        check_kind(&SockRef::from(&self.socket), Type::STREAM, false)?;
        self.listen()?;
        self.socket.set_nonblocking(true)
    }

    /// Linux lets go of a shut down listening socket's queue and of nothing else: the port stays
    /// bound, if it was asked for by its number, and nobody shares it. A socket that was adopted is
    /// left as it is, for its owner may want to listen on it.
    #[cfg(target_os = "linux")]
    fn server_deactivate(&self) -> io::Result<()> {
        if self.wanted.is_none() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = SockRef::from(&self.socket);
        socket.shutdown(Shutdown::Read)?;
        socket.set_reuse_address(false)
    }

    fn server_reactivate(&self) -> io::Result<()> {
        self.listen()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let (stream, client_address) = self.socket.accept()?;
        // Elsewhere it is born with the listener's mode.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        stream.set_nonblocking(false)?;
        Ok(StreamRequest::new(stream, client_address.into(), server))
    }

    fn local_address(&self) -> io::Result<Address> {
        match (self.socket.local_addr()?, self.wanted) {
            // Not bound yet.
            (local, Some((wanted, _))) if local.port() == 0 => Ok(wanted.into()),
            (local, _) => Ok(local.into()),
        }
    }
}

impl Tcp {
    /// Finds a port before it asks for it: one that it chose itself Linux takes back when the socket
    /// stops listening.
    fn bind_free_port(&self, address: SocketAddr) -> io::Result<()> {
        const MOST_ATTEMPTS: usize = 100;
        let mut bound = Ok(());
        for _ in 0..MOST_ATTEMPTS {
            bound = bind_ip(&SockRef::from(&self.socket), free_port(address)?);
            // Somebody else was faster.
            if !matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
        }
        bound
    }

    /// Connections inherit `SO_REUSEADDR`; one without it, be it in `TIME_WAIT`, would keep the
    /// server from listening again after it was suspended. It is set once no other server can be bound
    /// to the port.
    fn listen(&self) -> io::Result<()> {
        let backlog = self.wanted.map_or(i32::MAX, |(_, backlog)| backlog);
        let address = self.local_address()?;
        let socket = SockRef::from(&self.socket);
        if cfg!(target_os = "linux") && self.wanted.is_some() {
            socket.set_reuse_address(true)?;
        }
        let listening = socket.listen(backlog);
        listening.map_err(|e| cannot_listen(e, &address))
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
                wanted: Some((address, options.request_queue_size)),
            })
        })
    }
}

/// Adopts a socket that is bound already, listening or not. It is made non-blocking, and so are its
/// duplicates.
impl From<TcpListener> for Tcp {
    fn from(socket: TcpListener) -> Self {
        Tcp {
            socket,
            wanted: None,
        }
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
