use std::fmt::{self, Debug};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net;
use std::path::Path;

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{
    bind_ip, check_kind, check_unix, local_unix_address, open_each, open_ip, unix_address,
};
use super::socket_path::SocketPath;
use super::{Bind, Listener, SocketOptions};
use crate::handle::RequestName;
use crate::log_line::log_line;
use crate::request::{DatagramRequest, DatagramSocket};
use crate::{Address, ServerHandle, sys};

/// Datagrams over IPv4 or IPv6. Python's `UDPServer`.
pub struct Udp {
    receiver: Receiver,
    /// The address to bind; `None` for an adopted socket.
    requested: Option<SocketAddr>,
}

impl Listener for Udp {
    type Request = DatagramRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        self.requested
            .map_or(Ok(()), |address| bind_ip(self.receiver.socket(), address))
    }

    #[cfg(feature = "restart")]
    fn server_take_over(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.receiver.socket = DatagramSocket::new(socket.into());
        Ok(())
    }

    fn set_options(&mut self, options: &SocketOptions) {
        self.receiver.set_options(options);
    }

    fn server_activate(&mut self) -> io::Result<()> {
        check_kind(&SockRef::from(self.receiver.socket()), Type::DGRAM, false)?;
        self.receiver.activate()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<DatagramRequest> {
        self.receiver.receive(server)
    }

    fn local_address(&self) -> io::Result<Address> {
        let local = Address::from(self.receiver.socket().local_addr()?);
        match self.requested {
            // Port 0 means that the socket is not bound yet.
            Some(requested) if local.port() == Some(0) => Ok(requested.into()),
            _ => Ok(local),
        }
    }
}

impl<A: ToSocketAddrs + Debug> Bind<A> for Udp {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        open_each(address, |address| {
            let socket = open_ip(address, Type::DGRAM, options)?;
            Ok(Udp {
                receiver: Receiver::new(socket, options),
                requested: Some(address),
            })
        })
    }
}

/// Adopts a bound socket.
impl From<UdpSocket> for Udp {
    fn from(socket: UdpSocket) -> Self {
        Udp {
            receiver: Receiver::new(socket.into(), &SocketOptions::default()),
            requested: None,
        }
    }
}

/// [`adopt`](crate::Builder::adopt) checks the type of the socket.
impl From<OwnedFd> for Udp {
    fn from(socket: OwnedFd) -> Self {
        UdpSocket::from(socket).into()
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.socket().as_fd()
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp")
            .field("socket", self.receiver.socket())
            .finish_non_exhaustive()
    }
}

/// Datagrams over a Unix socket. Python's `UnixDatagramServer`.
///
/// It replaces and removes its path as [`Unix`](super::Unix) does. A handler can reply only to
/// clients that bound an address.
pub struct UnixDatagram {
    /// The first field, so that it is dropped before the socket: see [`Unix`](super::Unix).
    path: Option<SocketPath>,
    receiver: Receiver,
    /// The address to bind; `None` for an adopted socket.
    requested: Option<Address>,
}

impl Listener for UnixDatagram {
    type Request = DatagramRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        if let Some(address) = &self.requested {
            self.path = SocketPath::bind(self.receiver.socket(), address)?;
        }
        Ok(())
    }

    #[cfg(feature = "restart")]
    fn server_take_over(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.receiver.socket = DatagramSocket::new(socket.into());
        let address = self.requested.as_ref();
        self.path = address.map_or(Ok(None), SocketPath::take_over)?;
        Ok(())
    }

    fn set_options(&mut self, options: &SocketOptions) {
        self.receiver.set_options(options);
    }

    fn server_activate(&mut self) -> io::Result<()> {
        check_kind(&SockRef::from(self.receiver.socket()), Type::DGRAM, true)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<DatagramRequest> {
        self.receiver.receive(server)
    }

    fn local_address(&self) -> io::Result<Address> {
        local_unix_address(self.receiver.socket(), self.requested.as_ref())
    }
}

impl UnixDatagram {
    fn open_at(requested: Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        Ok(vec![UnixDatagram {
            path: None,
            receiver: Receiver::new(socket, options),
            requested: Some(requested),
        }])
    }
}

impl<A: AsRef<Path>> Bind<A> for UnixDatagram {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        Self::open_at(unix_address(address.as_ref())?, options)
    }
}

impl Bind<&Address> for UnixDatagram {
    fn open(address: &Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        Self::open_at(check_unix(address)?, options)
    }
}

impl Bind<Address> for UnixDatagram {
    fn open(address: Address, options: &SocketOptions) -> io::Result<Vec<Self>> {
        Self::open(&address, options)
    }
}

/// Adopts a bound socket. Its path is not removed on close.
impl From<net::UnixDatagram> for UnixDatagram {
    fn from(socket: net::UnixDatagram) -> Self {
        UnixDatagram {
            path: None,
            receiver: Receiver::new(socket.into(), &SocketOptions::default()),
            requested: None,
        }
    }
}

/// [`adopt`](crate::Builder::adopt) checks the type of the socket.
impl From<OwnedFd> for UnixDatagram {
    fn from(socket: OwnedFd) -> Self {
        net::UnixDatagram::from(socket).into()
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

/// Receives the datagrams of either kind.
struct Receiver {
    socket: DatagramSocket,
    /// One byte longer than `max_packet_size`: if that byte is filled, the datagram was longer.
    buffer: Mutex<Vec<u8>>,
    /// Whether the system reports where each datagram arrived.
    has_packet_info: bool,
}

impl Receiver {
    fn new(socket: Socket, options: &SocketOptions) -> Self {
        Receiver {
            socket: DatagramSocket::new(socket),
            buffer: Mutex::new(vec![0; options.max_packet_size + 1]),
            has_packet_info: false,
        }
    }

    fn set_options(&mut self, options: &SocketOptions) {
        *self.buffer.get_mut() = vec![0; options.max_packet_size + 1];
    }

    fn activate(&mut self) -> io::Result<()> {
        self.has_packet_info = sys::datagram::request_packet_info(self.socket())?;
        Ok(())
    }

    fn socket(&self) -> &Socket {
        self.socket.socket()
    }

    fn receive(&self, server: &ServerHandle) -> io::Result<DatagramRequest> {
        let mut buffer = self.buffer.lock();
        let (length, sender, arrival) = if self.has_packet_info {
            sys::datagram::try_recv(self.socket(), &mut buffer)?
        } else {
            let (length, sender) = sys::try_recv_from(self.socket(), &mut buffer)?;
            (length, sender, None)
        };
        let max = buffer.len() - 1;
        let packet = &buffer[..length.min(max)];
        let mut request = DatagramRequest::new(packet, self.socket.clone(), sender, server);
        if let Some(arrival) = arrival {
            request.set_arrival(arrival);
        }
        request.truncated = length > max;
        if request.truncated {
            log_truncated(&request);
        }
        Ok(request)
    }
}

fn log_truncated(request: &DatagramRequest) {
    if let Some(suppressed) = request.server.log_limit().allow() {
        let name = RequestName {
            server: &request.server,
            id: request.id(),
            client_address: &request.client_address,
        };
        log_line!(
            target: "socketserver::listener", Warn,
            "{name}: a datagram longer than {} bytes was truncated (max_packet_size sets the limit){suppressed}",
            request.packet.len()
        );
    }
}
