use std::fmt::{self, Debug};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{SockRef, Type};

use super::socket::{Receiver, bind_ip, check_kind, open_each, open_ip};
use super::{Bind, Listener, SocketOptions};
use crate::request::DatagramRequest;
use crate::{Address, ServerHandle};

/// Datagrams over IPv4 or IPv6. Python's `UDPServer`.
pub struct Udp {
    receiver: Receiver,
    /// Where to bind; `None` for a socket that was adopted.
    wanted: Option<SocketAddr>,
}

impl Listener for Udp {
    type Request = DatagramRequest;

    fn server_bind(&mut self) -> io::Result<()> {
        self.wanted
            .map_or(Ok(()), |address| bind_ip(self.receiver.socket(), address))
    }

    fn server_activate(&mut self) -> io::Result<()> {
        check_kind(&SockRef::from(self.receiver.socket()), Type::DGRAM, false)
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<DatagramRequest> {
        self.receiver.receive(server)
    }

    fn local_address(&self) -> io::Result<Address> {
        match (
            Address::from(self.receiver.socket().local_addr()?),
            self.wanted,
        ) {
            // Not bound yet.
            (local, Some(wanted)) if local.port() == Some(0) => Ok(wanted.into()),
            (local, _) => Ok(local),
        }
    }
}

impl<A: ToSocketAddrs + Debug> Bind<A> for Udp {
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>> {
        open_each(address, |address| {
            let socket = open_ip(address, Type::DGRAM, options)?;
            Ok(Udp {
                receiver: Receiver::new(socket, options),
                wanted: Some(address),
            })
        })
    }
}

/// Adopts a socket that is bound already, with the default `max_packet_size`. It must not be set
/// non-blocking: replies would fail while the send buffer is full.
impl From<UdpSocket> for Udp {
    fn from(socket: UdpSocket) -> Self {
        Udp {
            receiver: Receiver::new(socket.into(), &SocketOptions::default()),
            wanted: None,
        }
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
