use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};

use socket2::SockAddr;

use crate::log_line::escape_bytes;

/// The address of a server, of a client, or of a datagram's sender, in any address family.
///
/// Handlers get this one type from every kind of server. It prints as `127.0.0.1:80`, `[::1]:80`,
/// `/run/app.sock` or `@abstract`. A client chooses the path or name of its own Unix socket: what is not
/// printable in it, such as line ends and escape codes, is printed as in a string literal (`\n`,
/// `\u{1b}`), and bytes that are not UTF-8 as `\xff`. It implements `ToSocketAddrs`, so that
/// `TcpStream::connect(server.server_address())` works.
///
/// A server behind a proxy sees the address of the proxy here, not the IP of the client.
///
/// ```
/// use socketserver::Address;
///
/// let address = Address::from(([127, 0, 0, 1], 80));
/// assert_eq!(address.port(), Some(80));
/// assert_eq!(address.to_string(), "127.0.0.1:80");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and a port. An IPv4 client of a dual-stack server has an IPv4-mapped
    /// IPv6 address here (`[::ffff:192.0.2.1]:80`); [`ip`](Self::ip) converts it to IPv4.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Path(PathBuf),
    /// A Linux abstract name, without its leading zero byte.
    Abstract(Vec<u8>),
    /// A Unix socket that was not bound, like those of most clients. Nothing can be sent to this
    /// address.
    Unnamed,
}

impl Address {
    /// The IP address and port; `None` for Unix sockets.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            _ => None,
        }
    }

    /// The IP address; `None` for Unix sockets. An IPv4-mapped IPv6 address is converted to IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket_addr()
            .map(|address| address.ip().to_canonical())
    }

    /// The port; `None` for Unix sockets.
    pub fn port(&self) -> Option<u16> {
        self.socket_addr().map(|address| address.port())
    }

    /// The path of a Unix socket; `None` for all other addresses.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The form for system calls.
    pub(crate) fn to_sock_addr(&self) -> io::Result<SockAddr> {
        match self {
            Address::Ip(address) => Ok(SockAddr::from(*address)),
            Address::Path(path) => SockAddr::unix(path),
            Address::Abstract(name) => {
                let mut raw = vec![0];
                raw.extend_from_slice(name);
                SockAddr::unix(std::ffi::OsStr::from_bytes(&raw))
            }
            Address::Unnamed => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the peer's Unix socket has no address, so nothing can be sent to it",
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Path(path) => f.pad(&escape_bytes(path.as_os_str().as_bytes())),
            Address::Abstract(name) => f.pad(&format!("@{}", escape_bytes(name))),
            Address::Unnamed => f.pad("(unnamed)"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Address {
    fn from(address: (I, u16)) -> Self {
        Address::Ip(address.into())
    }
}

impl From<UnixAddr> for Address {
    fn from(address: UnixAddr) -> Self {
        if let Some(path) = address.as_pathname() {
            return Address::Path(path.to_owned());
        }
        abstract_name(&address).map_or(Address::Unnamed, |name| Address::Abstract(name.to_owned()))
    }
}

impl From<SockAddr> for Address {
    fn from(address: SockAddr) -> Self {
        match address.as_socket() {
            Some(address) => Address::Ip(address),
            None => unix_address(&address),
        }
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.socket_addr() == Some(*other)
    }
}

/// For `TcpStream::connect` and the like. Fails with `InvalidInput` for the address of a Unix socket.
impl ToSocketAddrs for Address {
    type Iter = std::option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self {
            Address::Ip(address) => Ok(Some(*address).into_iter()),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{other} is the address of a Unix socket, not an IP address"),
            )),
        }
    }
}

/// Does not convert through the standard library's type: `socket2` loses abstract names there.
fn unix_address(address: &SockAddr) -> Address {
    if let Some(path) = address.as_pathname() {
        return Address::Path(path.to_owned());
    }
    let name = address.as_abstract_namespace();
    name.map_or(Address::Unnamed, |name| Address::Abstract(name.to_owned()))
}

#[cfg(target_os = "linux")]
fn abstract_name(address: &UnixAddr) -> Option<&[u8]> {
    use std::os::linux::net::SocketAddrExt;
    address.as_abstract_name()
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &UnixAddr) -> Option<&[u8]> {
    None
}
