//! The PROXY protocol: servers that see the client's address behind a load balancer. Feature
//! `proxy-protocol`.
//!
//! A proxy such as HAProxy or nginx connects to the server for its client, so the server sees the proxy's
//! address. With the [PROXY protocol] the proxy sends a header in front of the client's data, which names
//! the client. Both versions are read: v1 (one line of text) and v2 (binary).
//!
//! [`Builder::proxy_protocol`](crate::Builder::proxy_protocol) switches it on, for TCP and Unix stream
//! servers. (Datagram servers have no such setting.) Then each connection must begin with a header, and only
//! [trusted](ProxyProtocol::required) proxies may connect. A server must not guess whether there is a header:
//! otherwise any client could choose its own address.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use socketserver::prelude::*;
//! use socketserver::proxy_protocol::ProxyProtocol;
//!
//! # fn main() -> std::io::Result<()> {
//! let server = ThreadingTcpServer::builder()
//!     .proxy_protocol(ProxyProtocol::required(["127.0.0.0/8", "10.1.0.0/16"])?)
//!     .bind_fn("127.0.0.1:0", |request| {
//!         writeln!(request.wfile, "hello, {}", request.client_address)?;
//!         Ok(())
//!     })?;
//! let server = server.serve_in_background()?;
//!
//! // What a proxy does.
//! let mut proxy = TcpStream::connect(server.server_address())?;
//! proxy.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n")?;
//! let mut answer = String::new();
//! proxy.read_to_string(&mut answer)?;
//! assert_eq!(answer, "hello, 192.0.2.1:56324\n");
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a request
//!
//! accept → `max_connections`, trusted proxy → dispatch → header → `max_per_ip`,
//! [`verify_request`](crate::Hooks::verify_request) → `setup` → `handle` → `finish` → close
//!
//! The header is received on the request's own thread or task, within a
//! [time limit](ProxyProtocol::header_timeout), so a slow proxy delays no other. (A server without threads waits
//! for it.) What follows it stays in the socket. A graceful shutdown closes a connection whose header has not
//! arrived. From there on `client_address` is the client's, in the handler, the hooks and the log;
//! [`StreamRequest::peer_address`](crate::StreamRequest::peer_address) is the proxy's. Before, in
//! [`Job::client_address`](crate::dispatch::Job::client_address), it is the proxy's.
//!
//! | the header | `client_address` | |
//! |---|---|---|
//! | names a client | the client's IP address, or Unix socket | |
//! | is `LOCAL`: a health check of the proxy itself | the proxy's, also for `max_per_ip` | handled as any request |
//! | is `UNKNOWN`: another kind of client | the proxy's, also for `max_per_ip` | handled as any request |
//! | does not come in time | | closed; an error of the kind `TimedOut` |
//! | is invalid, too long, incomplete, or has a wrong checksum | | closed; an error of the kind `InvalidData` |
//! | does not begin before the end of the stream | | closed; counts as disconnected |
//!
//! These errors go to [`Hooks::handle_error`](crate::Hooks::handle_error) with
//! [`Stage::ProxyHeader`](crate::Stage::ProxyHeader). Connections of other peers than the trusted proxies are
//! closed at once, and count as [`refused`](crate::RejectedCounts::refused).
//!
//! A server that forks reads the header in the child. So the log lines of the server itself name the proxy,
//! a client that `verify_request` refuses counts as failed, and
//! [`max_per_ip`](crate::Builder::max_per_ip) cannot be used.
//!
//! # Sending it
//!
//! A server that is a proxy itself sends the header that [`v1_header`] or [`v2_header`] makes, in front of
//! all other data.
//!
//! [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

mod header;
mod ssl;
mod tlv;
mod write;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

pub use self::header::ProxyHeader;
pub use self::ssl::ProxySsl;
pub use self::write::{v1_header, v2_header};
use crate::Address;

/// That each connection begins with a PROXY header, and who may send one: for
/// [`Builder::proxy_protocol`](crate::Builder::proxy_protocol).
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    trusted: Vec<IpNet>,
    trusts_unix: bool,
    timeout: Duration,
}

impl ProxyProtocol {
    /// Each connection must begin with a header, and come from one of these proxies. They are IP networks
    /// (CIDR), such as `10.1.0.0/16` or `2001:db8::/32`, single IP addresses, or the word `unix` for all that
    /// connect to a Unix socket. IPv4 clients of a [dual-stack](crate::Builder::dual_stack) server have IPv4
    /// addresses here.
    ///
    /// ```
    /// use socketserver::proxy_protocol::ProxyProtocol;
    ///
    /// assert!(ProxyProtocol::required(["10.1.0.0/16", "::1", "unix"]).is_ok());
    /// let error = ProxyProtocol::required(["10.1.0.0/40"]).unwrap_err();
    /// assert!(error.to_string().contains("10.1.0.0/40"));
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput` if one is none of these, with its text in the message, or if there is none at all:
    /// then nobody could connect.
    #[doc(alias("set_real_ip_from", "trusted proxies", "accept-proxy"))]
    pub fn required<I>(trusted_proxies: I) -> io::Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut proxies = ProxyProtocol {
            trusted: Vec::new(),
            trusts_unix: false,
            timeout: Duration::from_secs(5),
        };
        for text in trusted_proxies {
            match text.as_ref() {
                "unix" => proxies.trusts_unix = true,
                text => proxies.trusted.push(network(text)?),
            }
        }
        if proxies.trusted.is_empty() && !proxies.trusts_unix {
            return Err(invalid("no trusted proxies: nobody could connect".into()));
        }
        Ok(proxies)
    }

    /// How long a proxy may take to send the whole header, from the start of its request's thread or task.
    /// Default 5 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        if self.timeout.is_zero() {
            return Err(invalid("header_timeout is zero; it must be longer".into()));
        }
        Ok(())
    }

    /// Whether this peer may send a header.
    pub(crate) fn is_trusted(&self, peer: &Address) -> bool {
        match peer.ip() {
            Some(ip) => self.trusted.iter().any(|network| network.contains(&ip)),
            None => self.trusts_unix,
        }
    }
}

fn network(text: &str) -> io::Result<IpNet> {
    let single = text
        .parse()
        .map(|ip: IpAddr| IpNet::from(ip.to_canonical()));
    let network = |text: &str| text.parse().ok().filter(|network| !is_mapped(network));
    single.ok().or_else(|| network(text)).ok_or_else(|| {
        invalid(format!(
            "{text:?} is not a trusted proxy: it is a network such as 10.1.0.0/16, an IP address, or `unix`"
        ))
    })
}

/// A network of IPv4 addresses in IPv6 notation. Addresses of clients are IPv4 then, and would never match.
fn is_mapped(network: &IpNet) -> bool {
    match network {
        IpNet::V4(_) => false,
        IpNet::V6(network) => network.addr().to_ipv4_mapped().is_some(),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
