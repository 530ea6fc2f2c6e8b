use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use ppp::{v1, v2};

use crate::Address;

/// The length of an address of a Unix socket in a header of version 2.
const UNIX_LENGTH: usize = 108;

/// A header of version 1, one line of text, for a client that is at `source` and has connected to
/// `destination`. Version 1 has no addresses of Unix sockets: then it says `UNKNOWN`.
///
/// If only one of them is an IPv4 address, it is sent as an IPv4-mapped IPv6 address.
///
/// ```
/// use socketserver::Address;
/// use socketserver::proxy_protocol::v1_header;
///
/// let client = Address::from(([192, 0, 2, 1], 56324));
/// let server = Address::from(([198, 51, 100, 1], 443));
/// let header = v1_header(&client, &server);
/// assert_eq!(header, b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n");
/// ```
#[doc(alias = "send-proxy")]
pub fn v1_header(source: &Address, destination: &Address) -> Vec<u8> {
    let addresses = ip_pair(source, destination).map_or(v1::Addresses::Unknown, Into::into);
    addresses.to_string().into_bytes()
}

/// A header of version 2, binary, for a client that is at `source` and has connected to `destination`. If
/// one of them is an IP address and the other one a Unix socket, it has no addresses.
///
/// If only one of them is an IPv4 address, it is sent as an IPv4-mapped IPv6 address.
///
/// ```
/// use std::io::Write;
/// use std::net::TcpStream;
///
/// use socketserver::prelude::*;
/// use socketserver::proxy_protocol::v2_header;
///
/// /// Connects to another server for the client of this request.
/// fn connect(request: &StreamRequest, target: &str) -> std::io::Result<TcpStream> {
///     let header = v2_header(&request.client_address, &request.local_address()?);
///     let mut target = TcpStream::connect(target)?;
///     target.write_all(&header)?;
///     Ok(target)
/// }
/// ```
#[doc(alias = "send-proxy-v2")]
pub fn v2_header(source: &Address, destination: &Address) -> Vec<u8> {
    let addresses = match ip_pair(source, destination) {
        Some(both) => both.into(),
        None => unix_pair(source, destination).unwrap_or(v2::Addresses::Unspecified),
    };
    let protocol = match addresses {
        v2::Addresses::Unspecified => v2::Protocol::Unspecified,
        _ => v2::Protocol::Stream,
    };
    let command = v2::Version::Two | v2::Command::Proxy;
    let header = v2::Builder::with_addresses(command, protocol, addresses).build();
    header.expect("addresses are shorter than the longest header")
}

/// Two IP addresses of one family.
fn ip_pair(source: &Address, destination: &Address) -> Option<(SocketAddr, SocketAddr)> {
    let canonical = |address: &Address| Some(SocketAddr::new(address.ip()?, address.port()?));
    let (source, destination) = (canonical(source)?, canonical(destination)?);
    if source.is_ipv4() == destination.is_ipv4() {
        return Some((source, destination));
    }
    Some((mapped(source), mapped(destination)))
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

fn unix_pair(source: &Address, destination: &Address) -> Option<v2::Addresses> {
    Some(v2::Unix::new(unix(source)?, unix(destination)?).into())
}

/// `sun_path`, filled up with zeroes. `None` for an IP address, and a path that no socket can have.
fn unix(address: &Address) -> Option<[u8; UNIX_LENGTH]> {
    let mut path = [0; UNIX_LENGTH];
    let (begin, name) = match address {
        Address::Path(path) => (0, path.as_os_str().as_bytes()),
        Address::Abstract(name) => (1, &name[..]),
        Address::Unnamed => (0, &[][..]),
        Address::Ip(_) => return None,
    };
    path.get_mut(begin..begin + name.len())?
        .copy_from_slice(name);
    Some(path)
}
