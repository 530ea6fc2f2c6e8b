use std::io::{self, Cursor};
use std::mem;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use super::{DatagramSocket, Extensions, Lifecycle, Request};
use crate::error::{RequestError, SystemError};
use crate::handle::ConnectionEntry;
use crate::sys::datagram::PacketInfo;
use crate::{Address, ServerHandle};

/// One datagram, as a handler sees it: the same over UDP and Unix sockets. Python's
/// `DatagramRequestHandler`.
///
/// What the handler writes to `wfile` is sent to the client as one datagram after `finish`. If `wfile` is
/// empty, nothing is sent.
///
/// ```
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = UdpServer::bind_fn("127.0.0.1:0", |request| {
///     request.wfile = request.packet.to_ascii_uppercase();
///     Ok(())
/// })?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DatagramRequest {
    /// The datagram's bytes. Cheap to clone.
    pub packet: Arc<[u8]>,
    /// Whether the datagram was longer than `max_packet_size`, and `packet` is only its beginning.
    pub truncated: bool,
    /// The same bytes as a stream, for handlers that read.
    pub rfile: Cursor<Arc<[u8]>>,
    /// The reply, sent after `finish` unless it is empty.
    pub wfile: Vec<u8>,
    /// The server's socket. Clone it to send later.
    pub socket: DatagramSocket,
    /// The sender's address. A Unix socket that was never bound has none, and cannot receive a reply.
    pub client_address: Address,
    /// The server that received the datagram.
    pub server: ServerHandle,
    /// Values from a listener, `verify_request` or the handler itself.
    pub extensions: Extensions,
    id: u64,
    /// Where it arrived, if the socket is bound to an unspecified address.
    arrival: Option<PacketInfo>,
    local_address: Option<Address>,
}

impl DatagramRequest {
    /// Makes a request of a received datagram: what a [`Listener`](crate::Listener) of your own
    /// returns from `accept`.
    pub fn new(
        packet: &[u8],
        socket: DatagramSocket,
        client_address: Address,
        server: &ServerHandle,
    ) -> Self {
        server.registry().count_bytes(packet.len() as u64, 0);
        socket.set_server(server);
        let packet: Arc<[u8]> = packet.into();
        DatagramRequest {
            truncated: false,
            rfile: Cursor::new(Arc::clone(&packet)),
            packet,
            wfile: Vec::new(),
            socket,
            client_address,
            server: server.clone(),
            extensions: Extensions::default(),
            id: server.next_id(),
            arrival: None,
            local_address: None,
        }
    }

    /// The datagram's number: unique within its server, counted from 1 in the order of arrival. The
    /// log names it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The address that the datagram was sent to, with the server's port. A server on an unspecified
    /// address (`0.0.0.0`, `[::]`) receives what is sent to any address of the machine, also to a broadcast
    /// or multicast address. Python has only the server's address.
    ///
    /// # Platform-specific behavior
    ///
    /// On systems other than Linux and Android it is the server's address.
    #[doc(alias("IP_PKTINFO", "IPV6_RECVPKTINFO"))]
    pub fn local_address(&self) -> &Address {
        let server = || self.server.server_address();
        self.local_address.as_ref().unwrap_or_else(server)
    }

    /// Sends one datagram to the client now, also an empty one. Does not change `wfile`.
    ///
    /// It leaves from [`local_address`](Self::local_address), like the reply in `wfile`; the reply to a
    /// broadcast or multicast leaves from an address of the network interface.
    ///
    /// # Errors
    ///
    /// Those of [`DatagramSocket::send_to`].
    pub fn reply(&self, data: &[u8]) -> io::Result<()> {
        self.socket
            .send_from(self.arrival, data, &self.client_address)
    }
}

impl DatagramRequest {
    pub(crate) fn set_arrival(&mut self, arrival: PacketInfo) {
        self.arrival = Some(arrival);
        let port = self.server.server_address().port().unwrap_or_default();
        let address = match (arrival.destination, self.client_address.socket_addr()) {
            (IpAddr::V6(ip), _) => SocketAddrV6::new(ip, port, 0, arrival.interface).into(),
            (ip, Some(SocketAddr::V4(_))) => SocketAddr::new(ip, port),
            // In the same form as the client's address.
            (IpAddr::V4(ip), _) => (ip.to_ipv6_mapped(), port).into(),
        };
        self.local_address = Some(address.into());
    }
}

impl Request for DatagramRequest {
    fn id(&self) -> u64 {
        self.id()
    }

    fn client_address(&self) -> &Address {
        &self.client_address
    }

    fn server(&self) -> &ServerHandle {
        &self.server
    }

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

impl Lifecycle for DatagramRequest {
    const OWNS_SOCKET: bool = false;

    fn connection_entry(&self) -> Option<ConnectionEntry> {
        None
    }

    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn begin_rejection(&mut self, _: Duration, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let reply = mem::take(&mut self.wfile);
        if reply.is_empty() {
            Ok(())
        } else {
            self.reply(&reply)
        }
    }

    fn is_disconnect(&self, error: &RequestError) -> bool {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, NotFound};
        let system = error.io_error().and_then(SystemError::of);
        let receiver = system.and_then(|error| error.receiver.as_ref());
        receiver.is_some_and(|receiver| match error.io_kind() {
            Some(ConnectionRefused | NotFound) => *receiver == self.client_address,
            Some(AddrNotAvailable) => *receiver == Address::Unnamed,
            _ => false,
        })
    }

    fn abandon(&mut self) {}

    fn byte_counts(&self) -> (u64, u64) {
        (self.packet.len() as u64, self.socket.bytes_sent())
    }
}
