//! What a handler receives: a connection, or one datagram.
//!
//! | | [`StreamRequest`] | [`DatagramRequest`] |
//! |---|---|---|
//! | comes from | `TcpServer`, `UnixStreamServer` | `UdpServer`, `UnixDatagramServer` |
//! | is | one connection | one packet |
//! | `rfile` | a buffered [`Reader`] of the connection | a cursor over the packet |
//! | `wfile` | a [`Writer`], unbuffered by default | a `Vec<u8>`, sent as one reply after `finish` |
//! | to answer later | [`Connection`], [`Outbox`], [`StreamRequest::detach`] | [`DatagramSocket`] |
//! | closed by | the server, after `finish` | not closed: the socket is the server's |

mod buffer;
mod client_address;
mod close_reason;
mod conn;
mod connection;
mod datagram;
mod datagram_socket;
#[cfg(feature = "tls")]
mod handshake;
mod known_options;
mod lines;
mod mirror;
mod outbox;
mod proxy_header;
mod queue;
mod reader;
mod receive;
mod send;
mod send_file;
mod state;
mod stream;
mod timeouts;
mod transport;
mod wait;
mod writer;

use std::any::Any;
use std::fmt;

pub use self::connection::Connection;
pub use self::datagram::DatagramRequest;
pub use self::datagram_socket::DatagramSocket;
pub(crate) use self::lifecycle::Lifecycle;
pub use self::lines::ReadHalf;
pub use self::outbox::Outbox;
pub use self::reader::Reader;
pub use self::stream::StreamRequest;
pub(crate) use self::transport::Transport;
pub use self::writer::Writer;
use crate::error::catch_and_log;
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

    /// Values from a listener, `verify_request` or the handler itself.
    fn extensions(&self) -> &Extensions;

    /// The same, to put values in.
    fn extensions_mut(&mut self) -> &mut Extensions;
}

/// Values that travel with a request, one of each type. A listener or
/// [`verify_request`](crate::Hooks::verify_request) puts them in, and the handler reads them.
///
/// ```
/// use socketserver::request::Extensions;
///
/// #[derive(Debug, PartialEq)]
/// struct User(String);
///
/// let mut extensions = Extensions::default();
/// extensions.insert(User("ada".into()));
/// assert_eq!(extensions.get(), Some(&User("ada".into())));
/// ```
#[derive(Default)]
pub struct Extensions {
    // Few requests carry any, and those carry few. An empty `Vec` does not allocate.
    values: Vec<Box<dyn Any + Send>>,
}

impl Extensions {
    /// Inserts a value, and returns the value of its type that was there before.
    pub fn insert<T: Any + Send>(&mut self, value: T) -> Option<T> {
        let old = self.remove();
        self.values.push(Box::new(value));
        old
    }

    /// The value of this type, if there is one.
    pub fn get<T: Any + Send>(&self) -> Option<&T> {
        self.values.iter().find_map(|value| value.downcast_ref())
    }

    /// The value of this type, mutable.
    pub fn get_mut<T: Any + Send>(&mut self) -> Option<&mut T> {
        self.values
            .iter_mut()
            .find_map(|value| value.downcast_mut())
    }

    /// Removes the value of this type, and returns it.
    pub fn remove<T: Any + Send>(&mut self) -> Option<T> {
        let at = self.values.iter().position(|value| value.is::<T>())?;
        self.values
            .swap_remove(at)
            .downcast()
            .ok()
            .map(|value| *value)
    }
}

/// Each value is dropped although the drop of another panics, and those that panic are logged. If two of
/// them unwound at once, the process would abort.
impl Drop for Extensions {
    fn drop(&mut self) {
        // In the order of insertion.
        self.values.reverse();
        while let Some(value) = self.values.pop() {
            catch_and_log("the drop of an extension", || drop(value));
        }
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions")
            .field("values", &self.values.len())
            .finish()
    }
}

/// Other crates cannot name these items.
mod lifecycle {
    use std::io;
    use std::time::Duration;

    use crate::error::RequestError;
    use crate::handle::ConnectionEntry;
    use crate::proxy_protocol::ProxyProtocol;

    /// What the server does around a handler. No other crate can name the trait, so it seals [`Request`].
    pub trait Lifecycle {
        /// Whether it has a separate socket, and not the server's.
        const OWNS_SOCKET: bool;

        /// The connection, for the registry. `None` for a request that uses the server's socket.
        fn connection_entry(&self) -> Option<ConnectionEntry>;

        /// Receives the PROXY header. Returns false if a graceful shutdown has ended the connection meanwhile.
        fn receive_proxy_header(&mut self, proxies: &ProxyProtocol) -> io::Result<bool> {
            let _ = proxies;
            Ok(true)
        }

        /// Before `setup`, on the handler's thread: sets the builder's options.
        fn begin(&mut self) -> io::Result<()>;

        /// After `begin`: the TLS handshake, if the server has TLS.
        fn handshake(&mut self) -> io::Result<()> {
            Ok(())
        }

        /// Instead of `begin`, for a request that is rejected. Limits its time, or, where no other thread may
        /// be started, the time of each read and write.
        fn begin_rejection(&mut self, timeout: Duration, may_use_timer: bool) -> io::Result<()>;

        /// After `finish`: sends the rest of `wfile`.
        fn end(&mut self) -> io::Result<()>;

        /// Whether an error means that the client has disconnected, although its kind alone does not say so.
        fn is_disconnect(&self, error: &RequestError) -> bool;

        /// Closes nothing when it is dropped: another process has the connection.
        fn abandon(&mut self);

        /// Bytes received and sent so far.
        fn byte_counts(&self) -> (u64, u64);
    }
}
