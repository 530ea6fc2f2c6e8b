//! What a handler receives: a connection, or one datagram.
//!
//! | | [`StreamRequest`] | [`DatagramRequest`] |
//! |---|---|---|
//! | comes from | `TcpServer`, `UnixStreamServer` | `UdpServer`, `UnixDatagramServer` |
//! | is | one connection | one packet |
//! | `rfile` | a buffered [`Reader`] of the connection | a cursor over the packet |
//! | `wfile` | a [`Writer`], unbuffered by default | a `Vec<u8>`, sent as one reply after `finish` |
//! | to answer later | [`Connection`], [`StreamRequest::detach`] | [`DatagramSocket`] |
//! | closed by | the server, after `finish` | not closed: the socket is the server's |

mod close_reason;
mod conn;
mod connection;
mod datagram;
mod extensions;
mod lines;
mod reader;
mod state;
mod stream;
mod transport;
mod writer;

use std::io;
use std::time::Duration;

pub use self::connection::Connection;
pub use self::datagram::{DatagramRequest, DatagramSocket};
pub use self::extensions::Extensions;
pub use self::lines::{Lines, ReadHalf};
pub use self::reader::Reader;
pub use self::stream::StreamRequest;
pub use self::transport::Transport;
pub use self::writer::Writer;
use crate::handle::ConnectionEntry;
use crate::{Address, ServerHandle};

/// What [`StreamRequest`] and [`DatagramRequest`] have in common. No other type implements it.
pub trait Request: Lifecycle + Send + 'static {
    /// The request's number: unique within its server, counted from 1 in the order of accepting. The log
    /// names it.
    fn id(&self) -> u64;

    /// The client's address.
    fn client_address(&self) -> &Address;

    /// The server that accepted it.
    fn server(&self) -> &ServerHandle;
}

/// What the server does around a handler. No other crate can name the trait, so it seals [`Request`].
pub trait Lifecycle {
    /// Whether it has a socket of its own, and not the server's.
    const OWNS_SOCKET: bool;

    /// The connection, for the registry. `None` for a request that uses the server's socket.
    fn connection_entry(&self) -> Option<ConnectionEntry>;

    /// Before `setup`, on the handler's thread: sets the builder's options.
    fn begin(&mut self) -> io::Result<()>;

    /// Instead of `begin`, for a request that is rejected. Limits its time, or, where no other thread may
    /// be started, the time of each read and write.
    fn begin_rejection(&mut self, timeout: Duration, may_use_timer: bool) -> io::Result<()>;

    /// After `finish`: sends what is left in `wfile`.
    fn end(&mut self) -> io::Result<()>;

    /// Closes nothing when it is dropped: another process has the connection.
    fn abandon(&mut self);

    /// Bytes received and sent so far.
    fn byte_counts(&self) -> (u64, u64);
}
