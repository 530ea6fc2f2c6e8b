use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::SockAddr;

use crate::log_line::escape_bytes;

/// The address of a server, of a client, or of a datagram's sender, in any address family.
///
/// Handlers get this one type from every kind of server. It prints as `127.0.0.1:80`, `[::1]:80`,
/// `/run/app.sock` or `@abstract`. A client chooses the path or name of its own Unix socket: what is not
/// printable in it, such as line ends and escape codes, is printed as in a string literal (`\n`,
/// `\u{1b}`), and bytes that are not UTF-8 as `\xff`. It implements `ToSocketAddrs`, so that
/// `TcpStream::connect(server.server_address())` works. All servers of its family can be bound to it.
///
/// A server behind a proxy sees the address of the proxy here, not the IP of the client, unless the proxy sends a
/// PROXY header (feature `proxy-protocol`).
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
    #[inline]
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

/// Parses what `Display` prints: `127.0.0.1:80`, `[::1]:80`, `@name` for an abstract name, or a path, which
/// has a `/` in it and does not begin with `@`. For settings of a program, whose servers are [bound](crate::Builder::bind) to the
/// result.
///
/// The text is taken literally, so escapes that `Display` has printed stay as they are. Nothing is looked
/// up: `bind` itself takes host names.
///
/// ```
/// use socketserver::Address;
///
/// # fn main() -> std::io::Result<()> {
/// assert_eq!("[::1]:80".parse::<Address>()?.port(), Some(80));
/// assert!("./app.sock".parse::<Address>()?.path().is_some());
/// assert_eq!("@app".parse::<Address>()?, Address::Abstract(b"app".to_vec()));
///
/// let error = "localhost:80".parse::<Address>().expect_err("a host name");
/// assert!(error.to_string().contains("host names are not looked up"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `InvalidInput` for all other text. The message names the text and says what is accepted.
impl FromStr for Address {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        if let Ok(address) = text.parse() {
            return Ok(Address::Ip(address));
        }
        match text.strip_prefix('@') {
            _ if text.contains('\0') => {}
            Some("") => {}
            Some(name) => return Ok(Address::Abstract(name.into())),
            None if text.contains('/') => return Ok(Address::Path(text.into())),
            None => {}
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{text:?} is not an address: {}", explain(text)),
        ))
    }
}

/// What is wrong with text that is not an address.
fn explain(text: &str) -> String {
    const ACCEPTED: &str = "an address is 127.0.0.1:80, [::1]:80, a path with a /, or @name";
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match (text.parse(), port) {
        (Ok(IpAddr::V4(_)), _) => format!("it has no port, as in {text}:80"),
        (Ok(IpAddr::V6(_)), _) => format!("it has no port, as in [{text}]:80"),
        (_, Some(Ok(_))) => format!("host names are not looked up; {ACCEPTED}"),
        _ if text.is_empty() || text.contains(['@', ':', '\0']) => ACCEPTED.to_owned(),
        _ => format!("{ACCEPTED}; the path of a file here is ./{text}"),
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
