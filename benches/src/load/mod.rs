//! What clients do to a server.
//!
//! | | each client | counted |
//! |---|---|---|
//! | ping-pong | sends a message, and the next one after its answer | messages |
//! | connect | connects, sends a message, and closes after its answer | connections |
//! | bulk | sends without waiting for answers | bytes |
//! | idle | has sent one message, and stays connected | the server's memory |
//! | datagrams | sends a datagram, and the next one after its answer | datagrams |
//! | flood | connects at the same time as all others, and sends a message | [when it is served](crate::flood) |

mod bulk;
mod connect;
mod datagrams;
mod idle;
mod ping_pong;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use socket2::{SockRef, Socket};

use crate::figure::Sample;
use crate::server::Server;

const MESSAGE: [u8; 64] = [b'x'; 64];
/// A measurement fails if a connection or an answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    PingPong,
    Connect,
    Bulk,
    Idle,
    Datagrams,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::PingPong => "ping-pong",
            Kind::Connect => "connect",
            Kind::Bulk => "bulk",
            Kind::Idle => "idle",
            Kind::Datagrams => "datagrams",
        }
    }
}

/// A number of clients that do the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub kind: Kind,
    pub clients: usize,
}

pub const LOADS: [Load; 11] = [
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
];

impl Load {
    pub const fn new(kind: Kind, clients: usize) -> Self {
        Self { kind, clients }
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
    (0..count).map(|_| connect_blocking(address)).collect()
}

fn connect_blocking(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("cannot connect to {address}"))?;
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
