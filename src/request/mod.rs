//! What a handler is given: a connection's stream, or one datagram.
//!
//! | | [`StreamRequest`] | [`DatagramRequest`] |
//! |---|---|---|
//! | comes from | `TcpServer`, `UnixStreamServer` | `UdpServer`, `UnixDatagramServer` |
//! | stands for | one connection | one packet |
//! | `rfile` | a buffered [`Reader`] of the connection | a cursor over the packet |
//! | `wfile` | a [`Writer`], unbuffered unless asked for | a `Vec<u8>`, sent as one reply after `finish` |
//! | to answer later | [`Connection`], [`StreamRequest::detach`] | [`DatagramSocket`] |
//! | closed by | the server, after `finish` | nobody: the socket is the server's |

mod connection;
mod datagram;
mod extensions;
mod lifecycle;
mod lifetime;
mod link;
mod owner;
mod reader;
mod stream;
mod time_limits;
mod traffic;
mod transport;
mod writer;

pub use self::connection::Connection;
pub use self::datagram::{DatagramRequest, DatagramSocket};
pub use self::extensions::Extensions;
pub(crate) use self::lifecycle::Lifecycle;
pub use self::reader::{Lines, Reader};
pub use self::stream::StreamRequest;
pub use self::transport::Transport;
pub use self::writer::Writer;
use crate::{Address, ServerHandle};

/// What [`StreamRequest`] and [`DatagramRequest`] have in common; no other type implements it.
pub trait Request: Lifecycle + Send + 'static {
    /// Its number: unique within its server, counted from 1 in the order of accepting. The log
    /// names it.
    fn id(&self) -> u64;

    /// Who sent it.
    fn client_address(&self) -> &Address;

    /// The server it came through.
    fn server(&self) -> &ServerHandle;
}
