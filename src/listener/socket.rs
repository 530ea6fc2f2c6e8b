//! What the kinds of listener share: opening, binding, checking, error texts.

use std::fmt::{self, Debug};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::SocketOptions;
use crate::Address;
use crate::error::SystemError;

/// Whether the program has set a timeout for reads or writes.
pub(super) fn has_timeout(socket: &SockRef<'_>) -> bool {
    let timeouts = (socket.read_timeout(), socket.write_timeout());
    !matches!(timeouts, (Ok(None), Ok(None)))
}

/// Opens one listener for each IP address of `address`. Asks the resolver for the addresses of a
/// name, never for the name of an address.
///
/// An address whose socket cannot be opened (IPv6 on a machine without it) is left out if another
/// one can be opened.
pub(super) fn open_each<A: ToSocketAddrs + Debug, L>(
    address: A,
    open: impl Fn(SocketAddr) -> io::Result<L>,
) -> io::Result<Vec<L>> {
    let found = address.to_socket_addrs().map_err(|e| {
        context(
            e,
            format_args!("{address:?} is not an address to listen on, such as 127.0.0.1:80, or 0.0.0.0:80 for all interfaces"),
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
        let none = || invalid_input(format!("{address:?} contains no address"));
        return Err(failed.unwrap_or_else(none));
    }
    Ok(opened)
}

/// Opens an IP socket and sets the options that must be set before bind.
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
        socket.set_reuse_address(reuse_address(kind, options.allow_reuse_address))?;
        if options.allow_reuse_port {
            socket.set_reuse_port(true)?;
        }
        Ok(socket)
    };
    open().map_err(|e| context(e, format_args!("cannot open a socket for {address}")))
}

/// Whether to set `SO_REUSEADDR`, if the program `set` it or not.
///
/// For TCP it only allows a bind while old connections are in `TIME_WAIT`. For UDP it would let two
/// servers share a port, and each datagram would reach only one of them.
fn reuse_address(kind: Type, set: Option<bool>) -> bool {
    set.unwrap_or(kind == Type::STREAM)
}

pub(super) fn bind_ip(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket
        .bind(&address.into())
        .map_err(|e| cannot_listen_ip(e, socket, address))
}

/// The error of a `bind` or `listen` on an IP address, with the likely cause and what to do.
pub(super) fn cannot_listen_ip(
    error: io::Error,
    socket: &Socket,
    address: SocketAddr,
) -> io::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => return in_use(error, socket, address),
        ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    let text = format!("cannot listen on {address}: {error}{why}");
    SystemError::describe(&error, text)
}

/// `EADDRINUSE` has several causes, and the kernel does not report which one it is.
fn in_use(error: io::Error, socket: &Socket, address: SocketAddr) -> io::Error {
    let is_tcp = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    let why = if address.port() == 0 {
        "no port is free; close programs or connections"
    } else if !is_tcp {
        "another program uses it; stop it, or choose another port (port 0 takes a free one)"
    } else if program_listens(address) {
        "another program listens there; stop it, or choose another port (port 0 takes a free one)"
    } else if socket.reuse_address().unwrap_or(false) {
        "no program listens there, but a program has bound it, or old connections of a server \
         without allow_reuse_address are still in TIME_WAIT; wait about a minute, or choose another \
         port (port 0 takes a free one)"
    } else {
        "no program listens there, but old connections of it may still be in TIME_WAIT; set \
         allow_reuse_address(true), or wait about a minute"
    };
    let text = format!("cannot listen on {address}: address in use: {why}");
    SystemError::describe(&error, text)
}

/// Whether a program listens on this TCP address. Connects to it: the kernel refuses the connection
/// only if no program listens. If that program's backlog is full, the connection times out.
fn program_listens(mut address: SocketAddr) -> bool {
    const TIMEOUT: Duration = Duration::from_millis(100);
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let connected = TcpStream::connect_timeout(&address, TIMEOUT);
    !matches!(&connected, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

/// The error of a `bind` or `listen` on a Unix address, with what to do.
pub(super) fn cannot_listen_unix(error: io::Error, address: &Address) -> io::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "; another program uses it; stop it, or choose another name",
        ErrorKind::PermissionDenied => "; its folder must be writable",
        ErrorKind::NotFound => "; its folder must exist",
        _ => "",
    };
    let text = format!("cannot listen on {address}: {error}{why}");
    SystemError::describe(&error, text)
}

/// Refuses a socket of the wrong kind. Only an adopted socket can be of the wrong kind.
pub(super) fn check_kind(socket: &SockRef<'_>, kind: Type, unix: bool) -> io::Result<()> {
    let found = describe_kind(
        socket.r#type()?,
        socket.local_addr()?.domain() == Domain::UNIX,
    );
    let expected = describe_kind(kind, unix);
    if found != expected {
        let text = format!("the socket to adopt is {found}, not {expected}");
        return Err(invalid_input(text));
    }
    if kind == Type::STREAM && socket.peer_addr().is_ok() {
        let text = "the socket to adopt is the connection of one client (Accept=yes of systemd?); a server needs a socket that listens";
        return Err(invalid_input(text.to_owned()));
    }
    Ok(())
}

fn describe_kind(kind: Type, unix: bool) -> &'static str {
    match (kind, unix) {
        (Type::STREAM, false) => "an IP stream socket",
        (Type::STREAM, true) => "a Unix stream socket",
        (Type::DGRAM, false) => "an IP datagram socket",
        (Type::DGRAM, true) => "a Unix datagram socket",
        _ => "a socket of another type",
    }
}

/// The address of a bound Unix socket, or the requested one of a socket that is not bound yet.
pub(super) fn local_unix_address(
    socket: &Socket,
    requested: Option<&Address>,
) -> io::Result<Address> {
    let local = Address::from(socket.local_addr()?);
    Ok(match requested {
        Some(requested) if local == Address::Unnamed => requested.clone(),
        _ => local,
    })
}

/// The longest path of a Unix socket in bytes: the size of `sun_path` without its final zero.
const LONGEST_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    107
} else {
    103
};

/// The address for a path, or for an abstract name, which starts with a zero byte.
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
        _ if bytes.contains(&0) => format!("the path {} contains a zero byte", path.display()),
        _ => return Ok(Address::Path(path.to_owned())),
    };
    Err(invalid_input(problem))
}

/// Checks an address that a program has parsed or received.
pub(super) fn check_unix(address: &Address) -> io::Result<Address> {
    match address {
        Address::Path(path) => unix_address(path),
        Address::Abstract(_) => Ok(address.clone()),
        Address::Ip(_) => Err(invalid_input(format!(
            "{address} is an IP address; a Unix server needs a path or an abstract name"
        ))),
        Address::Unnamed => Err(invalid_input("a Unix socket needs a path".to_owned())),
    }
}

/// Puts `what` before the text of an error and keeps its kind.
pub(super) fn context(error: io::Error, what: fmt::Arguments<'_>) -> io::Error {
    SystemError::describe(&error, format!("{what}: {error}"))
}

fn invalid_input(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Shutdown, TcpListener, UdpSocket};

    use super::*;

    fn bind(kind: Type, address: SocketAddr, reuse: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        socket.set_reuse_address(reuse)?;
        bind_ip(&socket, address).map(|()| socket)
    }

    #[track_caller]
    fn expect(result: io::Result<Socket>, words: &[&str]) {
        let error = result.expect_err("the address is in use");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("the socket is bound");
        (listener, address)
    }

    #[test]
    fn a_program_that_listens_is_named_as_the_cause() {
        let (_listener, address) = listen();
        let words = [
            &*format!("cannot listen on {address}: address in use"),
            "another program listens there",
            "another port",
        ];
        expect(bind(Type::STREAM, address, false), &words);
        expect(bind(Type::STREAM, address, true), &words);
        let any = SocketAddr::from(([0, 0, 0, 0], address.port()));
        expect(
            bind(Type::STREAM, any, true),
            &["another program listens there"],
        );
    }

    #[test]
    fn a_listener_with_a_full_backlog_is_named_as_the_cause() {
        let any = "127.0.0.1:0".parse().expect("the text is an address");
        let socket = bind(Type::STREAM, any, false).expect("a port is free");
        socket.listen(0).expect("the socket is bound");
        let address = socket
            .local_addr()
            .expect("the socket is bound")
            .as_socket();
        let address = address.expect("the socket has an IP address");
        let timeout = Duration::from_millis(50);
        let waiting: Vec<_> =
            std::iter::repeat_with(|| TcpStream::connect_timeout(&address, timeout))
                .take_while(Result::is_ok)
                .take(10)
                .collect();
        assert!(waiting.len() < 10, "the backlog is 0");
        expect(
            bind(Type::STREAM, address, true),
            &["another program listens there"],
        );
    }

    /// The side that closes first keeps the connection in `TIME_WAIT`. The std sets `SO_REUSEADDR`,
    /// so this must be a socket without it.
    #[test]
    fn time_wait_is_named_as_the_cause() {
        let any = "127.0.0.1:0".parse().expect("the text is an address");
        let socket = bind(Type::STREAM, any, false).expect("a port is free");
        socket.listen(1).expect("the socket is bound");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("the socket is bound");
        let mut client = TcpStream::connect(address).expect("it listens");
        let (server, _) = listener.accept().expect("a client waits");
        drop(listener);
        server.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(client.read(&mut [0]).expect("the end of the stream"), 0);
        drop(client);
        drop(server);
        expect(
            bind(Type::STREAM, address, false),
            &["TIME_WAIT", "set allow_reuse_address(true)"],
        );
        expect(
            bind(Type::STREAM, address, true),
            &["TIME_WAIT", "wait about a minute"],
        );
    }

    #[test]
    fn udp_ports_have_no_time_wait() {
        let other = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = other.local_addr().expect("the socket is bound");
        expect(
            bind(Type::DGRAM, address, false),
            &["another program uses it", "another port"],
        );
    }

    #[test]
    fn only_tcp_reuses_addresses_by_default() {
        assert!(reuse_address(Type::STREAM, None));
        assert!(!reuse_address(Type::DGRAM, None));
        assert!(reuse_address(Type::DGRAM, Some(true)));
        assert!(!reuse_address(Type::STREAM, Some(false)));
    }
}
