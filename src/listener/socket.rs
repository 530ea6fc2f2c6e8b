//! What the four kinds of listener have in common.

use std::fmt::{self, Debug};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};

use super::SocketOptions;
use crate::request::{DatagramRequest, DatagramSocket};
use crate::sys;
use crate::{Address, ServerHandle};

/// One listener for each address that `address` stands for. Asks the resolver for names, never for
/// the names of addresses. An address that no socket can be had for (IPv6 where there is none) is
/// left out if another one works.
pub(super) fn open_each<A: ToSocketAddrs + Debug, L>(
    address: A,
    open: impl Fn(SocketAddr) -> io::Result<L>,
) -> io::Result<Vec<L>> {
    let found = address.to_socket_addrs();
    let found = found.map_err(|e| {
        context(
            e,
            format_args!("{address:?} is not an address to listen on, such as 127.0.0.1:80, or 0.0.0.0:80 for all there are"),
        )
    })?;
    let (mut opened, mut failed) = (Vec::new(), None);
    for result in found.map(open) {
        match result {
            Ok(listener) => opened.push(listener),
            Err(error) => failed = Some(error),
        }
    }
    if opened.is_empty() {
        let none = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address:?} stands for no address"),
            )
        };
        return Err(failed.unwrap_or_else(none));
    }
    Ok(opened)
}

/// An IP socket with the options that must be set before it is bound.
pub(super) fn open_ip(
    address: SocketAddr,
    kind: Type,
    options: &SocketOptions,
) -> io::Result<Socket> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(!options.dual_stack)?;
        }
        socket.set_reuse_address(options.allow_reuse_address.unwrap_or(kind == Type::STREAM))?;
        if options.allow_reuse_port {
            socket.set_reuse_port(true)?;
        }
        Ok(socket)
    };
    open().map_err(|e| context(e, format_args!("cannot open a socket for {address}")))
}

pub(super) fn bind_ip(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket
        .bind(&address.into())
        .map_err(|e| cannot_listen(e, &address.into()))
}

/// Says where, and what can be done about it.
pub(super) fn cannot_listen(error: io::Error, address: &Address) -> io::Error {
    let hint = match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, Address::Ip(_)) => {
            "; stop the program that holds it, or choose another port (0 takes a free one)"
        }
        (io::ErrorKind::AddrInUse, _) => "; stop the program that holds it, or choose another name",
        (io::ErrorKind::PermissionDenied, Address::Ip(_)) => "; ports below 1024 need a privilege",
        (io::ErrorKind::PermissionDenied, _) => "; its folder must be writable",
        (io::ErrorKind::AddrNotAvailable, _) => "; no interface of this machine has that address",
        (io::ErrorKind::NotFound, _) => "; its folder must exist",
        _ => "",
    };
    io::Error::new(
        error.kind(),
        format!("cannot listen on {address}: {error}{hint}"),
    )
}

/// Refuses a socket of the wrong kind, which only one that was adopted can be.
pub(super) fn check_kind(socket: &SockRef<'_>, kind: Type, unix: bool) -> io::Result<()> {
    let is_unix = socket.local_addr()?.domain() == Domain::UNIX;
    let wanted = match (kind, unix) {
        _ if socket.r#type()? != kind && kind == Type::STREAM => "a stream socket",
        _ if socket.r#type()? != kind => "a datagram socket",
        _ if is_unix == unix => return Ok(()),
        (_, true) => "a Unix socket",
        (_, false) => "an IP socket",
    };
    let message = format!("the socket to adopt is not {wanted}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Receives datagrams: the whole of UDP and Unix datagram listeners once they are bound.
pub(super) struct Receiver {
    pub(super) socket: DatagramSocket,
    /// One byte longer than the longest packet, to tell one that just fits from one that was cut.
    buffer: Mutex<Vec<u8>>,
}

impl Receiver {
    pub(super) fn new(socket: Socket, options: &SocketOptions) -> Self {
        Receiver {
            socket: DatagramSocket::new(socket),
            buffer: Mutex::new(vec![0; options.max_packet_size + 1]),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        self.socket.socket()
    }

    pub(super) fn receive(&self, server: &ServerHandle) -> io::Result<DatagramRequest> {
        let mut buffer = self.buffer.lock();
        let (length, sender) = sys::try_recv_from(self.socket(), &mut buffer)?;
        let most = buffer.len() - 1;
        let packet = &buffer[..length.min(most)];
        let mut request = DatagramRequest::new(packet, self.socket.clone(), sender, server);
        request.truncated = length > most;
        if request.truncated {
            log_cut(&request);
        }
        Ok(request)
    }
}

/// Puts words in front of an error, and keeps its kind.
pub(super) fn context(error: io::Error, what: fmt::Arguments<'_>) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The longest path a Unix socket can have, in bytes: `sun_path` less its final zero.
const LONGEST_PATH: usize = 107;

/// The address for a path, or for an abstract name, which begins with a zero byte.
pub(super) fn unix_address(path: &Path) -> io::Result<Address> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let problem = match bytes {
        [] => "a Unix socket needs a path".to_owned(),
        _ if bytes.len() > LONGEST_PATH => format!(
            "the path {} is too long for a Unix socket: {} bytes, {LONGEST_PATH} at most",
            path.display(),
            bytes.len()
        ),
        [0, name @ ..] => return Ok(Address::Abstract(name.to_vec())),
        _ if bytes.contains(&0) => format!("the path {} has a zero byte in it", path.display()),
        _ => return Ok(Address::Path(path.to_owned())),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

fn log_cut(request: &DatagramRequest) {
    if let Some(held_back) = request.server.log_limit().allow() {
        log::warn!(
            target: "socketserver::listener",
            "request {} from {}: a datagram longer than {} bytes was cut (max_packet_size sets the bound){held_back}",
            request.id(), request.client_address, request.packet.len()
        );
    }
}
