use std::io;
use std::time::Duration;

/// What the builder was told about sockets: handed to [`Bind::open`](crate::listener::Bind::open).
///
/// The builder's setters document each value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `SO_REUSEADDR`. Default false, as in Python.
    pub allow_reuse_address: bool,
    /// `SO_REUSEPORT`. Default false.
    pub allow_reuse_port: bool,
    /// Whether a socket bound to an IPv6 address takes IPv4 clients too. Default false.
    pub dual_stack: bool,
    /// The backlog of `listen(2)`. Default `i32::MAX`, which the system cuts to its own maximum.
    pub request_queue_size: i32,
    /// The longest datagram received whole, in bytes. Default 8,192.
    pub max_packet_size: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            allow_reuse_address: false,
            allow_reuse_port: false,
            dual_stack: false,
            request_queue_size: i32::MAX,
            max_packet_size: 8192,
        }
    }
}

impl SocketOptions {
    /// Longer than any datagram of any kind.
    const LONGEST_PACKET: usize = 1 << 24;

    pub(crate) fn check(&self) -> io::Result<()> {
        if self.max_packet_size <= Self::LONGEST_PACKET {
            return Ok(());
        }
        let (size, most) = (self.max_packet_size, Self::LONGEST_PACKET);
        let message = format!("a max_packet_size of {size} bytes is too much: {most} at most");
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// How each accepted stream is set up. Python keeps these on `StreamRequestHandler`.
#[derive(Clone, Debug)]
pub(crate) struct StreamOptions {
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) disable_nagle_algorithm: bool,
    pub(crate) rbufsize: usize,
    pub(crate) wbufsize: usize,
    pub(crate) max_line: usize,
}

impl StreamOptions {
    /// What each accepted socket would refuse.
    pub(crate) fn check(&self) -> io::Result<()> {
        for (name, timeout) in [
            ("read_timeout", self.read_timeout),
            ("write_timeout", self.write_timeout),
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
        ] {
            check_time(name, timeout)?;
        }
        Ok(())
    }
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions {
            read_timeout: None,
            write_timeout: None,
            idle_timeout: None,
            max_lifetime: None,
            disable_nagle_algorithm: false,
            rbufsize: 8192,
            wbufsize: 0,
            max_line: 65_536,
        }
    }
}

pub(crate) fn check_time(name: &str, time: Option<Duration>) -> io::Result<()> {
    if time.is_none_or(|time| !time.is_zero()) {
        return Ok(());
    }
    let message = format!("a {name} of zero leaves no time for anything");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
