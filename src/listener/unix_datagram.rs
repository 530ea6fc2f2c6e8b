use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net;
use std::path::Path;

use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{Receiver, check_kind, unix_address};
use super::socket_path::SocketPath;
use super::{Bind, Listener, SocketOptions};
use crate::request::DatagramRequest;
use crate::{Address, ServerHandle};

/// Datagrams over a Unix socket. Python's `UnixDatagramServer`.
///
/// Its path is treated as [`Unix`](super::Unix) treats its own. Only clients that bound
/// an address of their own can be answered.
pub struct UnixDatagram {
    // Dropped first: a client then finds no socket rather than one that refuses it.
    path: Option<SocketPath>,
    receiver: Receiver,
    /// Where to bind; `None` for a socket that was adopted.
    wanted: Option<Address>,
}

impl Listener for UnixDatagram {
    type Request = DatagramRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        if let Some(address) = &self.wanted {
            self.path = SocketPath::bind(self.receiver.socket(), address, Type::DGRAM)?;
        }
        Ok(())
    }

    fn server_activate(&mut self) -> io::Result<()> {
        check_kind(&SockRef::from(self.receiver.socket()), Type::DGRAM, true)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<DatagramRequest> {
        self.receiver.receive(server)
    }

    fn local_address(&self) -> io::Result<Address> {
        match &self.wanted {
            Some(address) => Ok(address.clone()),
            None => self.receiver.socket().local_addr().map(Address::from),
        }
    }
}

impl<A: AsRef<Path>> Bind<A> for UnixDatagram {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        let wanted = Some(unix_address(address.as_ref())?);
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        Ok(vec![UnixDatagram {
            path: None,
            receiver: Receiver::new(socket, options),
            wanted,
        }])
    }
}

/// Adopts a socket that is bound already, with the default `max_packet_size`. Its path is left to
/// whoever bound it.
impl From<net::UnixDatagram> for UnixDatagram {
    fn from(socket: net::UnixDatagram) -> Self {
        UnixDatagram {
            path: None,
            receiver: Receiver::new(socket.into(), &SocketOptions::default()),
            wanted: None,
        }
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.socket().as_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixDatagram")
            .field("socket", self.receiver.socket())
            .finish_non_exhaustive()
    }
}
