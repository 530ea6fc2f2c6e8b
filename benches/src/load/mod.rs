//! What clients do to a server: `README.md` has a table.

mod bulk;
mod connect;
mod datagrams;
mod idle;
mod ping_pong;
mod scale;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use crate::figure::Sample;
use crate::program::Program;
use crate::server::Server;

const MESSAGE: [u8; 64] = [b'x'; 64];
/// A measurement fails if a connection or an answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An IP has 28,000 ports for one server, and the search for a free one is slow when half of them are taken.
const CONNECTIONS_PER_IP: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PingPong,
    Connect,
    Bulk,
    Idle,
    Datagrams,
    Scale,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::PingPong => "ping-pong",
            Kind::Connect => "connect",
            Kind::Bulk => "bulk",
            Kind::Idle => "idle",
            Kind::Datagrams => "datagrams",
            Kind::Scale => "scale",
        }
    }
}

/// A number of clients that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub kind: Kind,
    pub clients: usize,
}

/// The descriptors of a process besides those of [`Load::clients`], with those of a scale load for the
/// clients that are not idle.
const SPARE_DESCRIPTORS: usize = 200;

/// The server allows so many and some more. With 16,000 threads, which have four mappings each, a process would
/// reach `vm.max_map_count`.
const MAX_THREADS: usize = 10_000;

pub const LOADS: [Load; 16] = [
    Load::new(Kind::PingPong, 1),
    Load::new(Kind::PingPong, 16),
    Load::new(Kind::PingPong, 256),
    Load::new(Kind::PingPong, 1000),
    Load::new(Kind::Connect, 16),
    Load::new(Kind::Connect, 256),
    Load::new(Kind::Bulk, 1),
    Load::new(Kind::Idle, 1000),
    Load::new(Kind::Datagrams, 1),
    Load::new(Kind::Datagrams, 16),
    Load::new(Kind::Datagrams, 64),
    Load::new(Kind::Scale, 10),
    Load::new(Kind::Scale, 100),
    Load::new(Kind::Scale, 1000),
    Load::new(Kind::Scale, 10_000),
    Load::new(Kind::Scale, 19_000),
];

impl Load {
    pub const fn new(kind: Kind, clients: usize) -> Self {
        Self { kind, clients }
    }

    pub fn is_for(self, program: &Program) -> bool {
        let fits = program.name != "threads" || self.clients <= MAX_THREADS;
        program.kinds.contains(&self.kind) && fits
    }

    /// How many descriptors the clients' process needs, and the server's too.
    pub fn descriptors(self) -> u64 {
        (self.clients + SPARE_DESCRIPTORS) as u64
    }

    /// Takes a fifth longer than the duration, for the warm-up, and the time to connect.
    pub fn measure(self, server: &Server, duration: Duration) -> Result<Sample> {
        let Load { kind, clients } = self;
        match kind {
            Kind::PingPong => ping_pong::measure(server, clients, duration),
            Kind::Connect => connect::measure(server, clients, duration),
            Kind::Bulk => bulk::measure(server, clients, duration),
            Kind::Idle => idle::measure(server, clients),
            Kind::Datagrams => datagrams::measure(server, clients, duration),
            Kind::Scale => scale::measure(server, clients, duration),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.kind {
            Kind::Datagrams => "socket",
            _ => "connection",
        };
        let plural = if self.clients == 1 { "" } else { "s" };
        write!(f, "{}, {} {unit}{plural}", self.kind.name(), self.clients)
    }
}

fn connect_all(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let connect = |i| connect_blocking(address, i / CONNECTIONS_PER_IP);
    (0..count).map(connect).collect()
}

/// Connects from the loopback address with this number.
fn connect_blocking(address: SocketAddr, ip: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + 1 + ip as u32);
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket
        .connect_timeout(&address.into(), TIMEOUT)
        .with_context(|| format!("cannot connect to {address}"))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    reset_at_close(&stream)?;
    Ok(stream)
}

/// Does not wait for the connection. The socket must be non-blocking.
pub fn begin_connect(socket: &Socket, address: SocketAddr) -> Result<()> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
            Err(error).with_context(|| format!("cannot connect to {address}"))
        }
        _ => Ok(()),
    }
}

/// Connections in TIME_WAIT would use up the ports.
fn reset_at_close(stream: &TcpStream) -> Result<()> {
    Ok(SockRef::from(stream).set_linger(Some(Duration::ZERO))?)
}
