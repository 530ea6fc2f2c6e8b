use std::error::Error;
use std::fmt;
use std::io::{self, Cursor};
use std::mem;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::transport::uninterrupted;
use super::{Extensions, Lifecycle, Request};
use crate::error::RequestError;
use crate::handle::ConnectionEntry;
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
    /// Bytes sent in reply.
    sent: AtomicU64,
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
        socket.0.server.get_or_init(|| server.clone());
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
            sent: AtomicU64::new(0),
        }
    }

    /// The datagram's number: unique within its server, counted from 1 in the order of arrival. The
    /// log names it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends one datagram to the client now, also an empty one. Does not change `wfile`.
    ///
    /// # Errors
    ///
    /// Those of [`DatagramSocket::send_to`].
    pub fn reply(&self, data: &[u8]) -> io::Result<()> {
        self.socket.send_to(data, &self.client_address)?;
        self.sent.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
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
        let source = error.io_error().and_then(io::Error::get_ref);
        let unsent: Option<&Unsent> = source.and_then(|source| source.downcast_ref());
        unsent.is_some_and(|unsent| match error.io_kind() {
            Some(ConnectionRefused | NotFound) => unsent.address == self.client_address,
            Some(AddrNotAvailable) => unsent.address == Address::Unnamed,
            _ => false,
        })
    }

    fn abandon(&mut self) {}

    fn byte_counts(&self) -> (u64, u64) {
        (self.packet.len() as u64, self.sent.load(Ordering::Relaxed))
    }
}

/// The socket of a datagram server. Cloneable, to send from any thread at any time.
///
/// The address stays bound until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct DatagramSocket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: Socket,
    /// The server that receives on it; it counts the sent bytes.
    server: OnceLock<ServerHandle>,
}

impl DatagramSocket {
    pub(crate) fn new(socket: Socket) -> Self {
        DatagramSocket(Arc::new(Shared {
            socket,
            server: OnceLock::new(),
        }))
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0.socket
    }

    /// Sends one datagram. Blocks while the send buffer, or the queue of the receiving Unix socket, is
    /// full.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a datagram too long for the socket (65,507 bytes over UDP on IPv4),
    /// `AddrNotAvailable` for a client without an address, and errors of the socket. Each names
    /// the address.
    #[doc(alias = "sendto")]
    pub fn send_to(&self, data: &[u8], address: &Address) -> io::Result<()> {
        let send = |to: &SockAddr| uninterrupted(|| self.socket().send_to(data, to));
        let sent = match address {
            Address::Ip(address) => send(&(*address).into()),
            other => other.to_sock_addr().and_then(|to| send(&to)),
        };
        let sent = sent.map_err(|e| explain(e, data.len(), address))?;
        if let Some(server) = self.0.server.get() {
            server.registry().count_bytes(0, sent as u64);
        }
        Ok(())
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl From<UdpSocket> for DatagramSocket {
    fn from(socket: UdpSocket) -> Self {
        DatagramSocket::new(socket.into())
    }
}

impl From<UnixDatagram> for DatagramSocket {
    fn from(socket: UnixDatagram) -> Self {
        DatagramSocket::new(socket.into())
    }
}

fn explain(error: io::Error, length: usize, address: &Address) -> io::Error {
    let mut message = format!("cannot send {length} bytes to {address}: {error}");
    let mut kind = error.kind();
    if error.raw_os_error() == Some(EMSGSIZE) {
        kind = io::ErrorKind::InvalidInput;
        if let Some(ip) = address.ip() {
            message += &format!("; {} at most over UDP", longest(ip));
        }
    }
    let address = address.clone();
    io::Error::new(kind, Unsent { address, message })
}

/// The error of a datagram that was not sent. With the address, an error of a reply is told apart from
/// all others.
#[derive(Debug)]
struct Unsent {
    address: Address,
    message: String,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Unsent {}

/// `ErrorKind` has no variant for it.
const EMSGSIZE: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};

/// An IP packet has 65,535 bytes. Of these the IPv4 header takes 20, the IPv6 header none, and the UDP
/// header 8.
fn longest(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 65_507 } else { 65_527 }
}
