use std::io;
use std::time::Duration;

use crate::proxy_protocol::ProxyProtocol;
#[cfg(feature = "tls")]
use crate::tls::TlsOptions;

/// The builder's settings for sockets, for [`Bind::open`](crate::listener::Bind::open). The builder's
/// methods document them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `SO_REUSEADDR`. `None` is the default of the kind: true for TCP, false for UDP.
    pub allow_reuse_address: Option<bool>,
    /// `SO_REUSEPORT`. Default false.
    pub allow_reuse_port: bool,
    /// Whether a socket bound to an IPv6 address accepts IPv4 clients too. Default false.
    pub dual_stack: bool,
    /// The backlog of `listen(2)`. Default `i32::MAX`, which the system reduces to its own maximum.
    pub request_queue_size: i32,
    /// The maximum length of a received datagram, in bytes. Longer ones are truncated. Default 8,192.
    pub max_packet_size: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            allow_reuse_address: None,
            allow_reuse_port: false,
            dual_stack: false,
            request_queue_size: i32::MAX,
            max_packet_size: 8192,
        }
    }
}

impl SocketOptions {
    /// Longer than any datagram.
    const LONGEST_PACKET: usize = 1 << 24;

    pub(crate) fn check(&self) -> io::Result<()> {
        if self.max_packet_size <= Self::LONGEST_PACKET {
            return Ok(());
        }
        let (size, limit) = (self.max_packet_size, Self::LONGEST_PACKET);
        let message =
            format!("a max_packet_size of {size} bytes is too large; the limit is {limit}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// The settings of each accepted connection. Python has them on `StreamRequestHandler`.
#[derive(Clone, Debug)]
pub(crate) struct StreamOptions {
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    /// The `write_timeout` of a datagram server.
    pub(crate) datagram_write_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) disable_nagle_algorithm: bool,
    pub(crate) rbufsize: usize,
    pub(crate) wbufsize: usize,
    pub(crate) max_line: usize,
    pub(crate) linger: LingerOptions,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    pub(crate) tls: TlsOptions,
}

impl StreamOptions {
    /// Refuses what each accepted socket would refuse.
    pub(crate) fn check(&self) -> io::Result<()> {
        for (name, timeout) in [
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
        ] {
            check_time(name, timeout)?;
        }
        if let Some(proxy_protocol) = &self.proxy_protocol {
            proxy_protocol.check()?;
        }
        #[cfg(feature = "tls")]
        self.tls.check()?;
        Ok(())
    }
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            read_timeout: None,
            write_timeout: None,
            datagram_write_timeout: Some(Duration::from_secs(1)),
            idle_timeout: None,
            max_lifetime: None,
            disable_nagle_algorithm: false,
            rbufsize: 8192,
            wbufsize: 0,
            max_line: 65_536,
            linger: LingerOptions::default(),
            proxy_protocol: None,
            #[cfg(feature = "tls")]
            tls: TlsOptions::default(),
        }
    }
}

/// The limits of lingering close. Those of one connection have nginx's names and defaults.
#[derive(Clone, Debug)]
pub(crate) struct LingerOptions {
    pub(crate) timeout: Duration,
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
    pub(crate) max: usize,
}

impl Default for LingerOptions {
    fn default() -> Self {
        LingerOptions {
            timeout: Duration::from_secs(5),
            time: Duration::from_secs(30),
            bytes: 64 << 20,
            max: 1024,
        }
    }
}

/// A timeout that is not longer than `limit`; `None` is no timeout.
pub(crate) fn at_most(limit: Duration, timeout: Option<Duration>) -> Duration {
    timeout.map_or(limit, |timeout| timeout.min(limit))
}

pub(crate) fn check_time(name: &str, time: Option<Duration>) -> io::Result<()> {
    if time.is_none_or(|time| !time.is_zero()) {
        return Ok(());
    }
    let message = format!("{name} is zero; it must be longer, or None for no limit");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
