//! Where requests come from: Python's server classes, without their mix-ins.
//!
//! | | [`Tcp`] | [`Unix`] | [`Udp`] | [`UnixDatagram`] |
//! |---|---|---|---|---|
//! | Python | `TCPServer` | `UnixStreamServer` | `UDPServer` | `UnixDatagramServer` |
//! | bound to | an IP address and port | a path, or a Linux abstract name | an IP address and port | a path, or a Linux abstract name |
//! | a request is | a connection | a connection | a datagram | a datagram |
//! | made from, to adopt a socket | `std::net::TcpListener` | `std::os::unix::net::UnixListener` | `std::net::UdpSocket` | `std::os::unix::net::UnixDatagram` |
//! | clients have an address | yes | mostly not | yes | if they bound one |
//! | on close | | its path is removed | | its path is removed |
//!
//! Addresses are whatever `std::net::ToSocketAddrs` takes: `"127.0.0.1:80"`, `("::1", 80)`,
//! `"localhost:80"`. Of a name with several addresses the first that can be bound is used. An
//! abstract name is a path that begins with a zero byte: `"\0name"`.
//!
//! A listener of your own implements [`Listener`], mostly by wrapping one of these: Python's
//! "override `get_request`".

mod socket;
mod socket_path;
mod tcp;
mod udp;
mod unix;
mod unix_datagram;

use std::io;
use std::os::fd::AsFd;

pub use self::tcp::Tcp;
pub use self::udp::Udp;
pub use self::unix::Unix;
pub use self::unix_datagram::UnixDatagram;
pub use crate::options::SocketOptions;
use crate::request::Request;
use crate::{Address, ServerHandle};

/// A socket that requests come from.
///
/// The server calls [`server_bind`](Self::server_bind), [`server_activate`](Self::server_activate),
/// and then [`accept`](Self::accept) again and again; it sleeps on the descriptor in between.
/// Dropping the listener closes it.
///
/// ```
/// use std::io;
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// use socketserver::listener::{Listener, Tcp};
/// use socketserver::prelude::*;
/// use socketserver::{Address, Server, ServerHandle, dispatch::Inline};
///
/// /// TCP, with the connection's number as context for the handler.
/// struct Numbered(Tcp);
///
/// struct Number(u64);
///
/// impl Listener for Numbered {
///     type Request = StreamRequest;
///
///     fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
///         let mut request = self.0.accept(server)?;
///         let number = Number(request.id());
///         request.extensions.insert(number);
///         Ok(request)
///     }
///
///     fn server_activate(&mut self) -> io::Result<()> {
///         self.0.server_activate()
///     }
///
///     fn local_address(&self) -> io::Result<Address> {
///         self.0.local_address()
///     }
/// }
///
/// impl AsFd for Numbered {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// # fn main() -> io::Result<()> {
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let server = Server::<Numbered, Inline>::builder().adopt_fn(Numbered(socket.into()), |request| {
///     let number = request.extensions.get::<Number>().map_or(0, |number| number.0);
///     writeln!(request.wfile, "you are number {number}")?;
///     Ok(())
/// })?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
pub trait Listener: AsFd + Send + Sync + 'static {
    /// What it gives out: [`StreamRequest`](crate::StreamRequest) or
    /// [`DatagramRequest`](crate::DatagramRequest).
    type Request: Request;

    /// Binds the socket. Does nothing by default, which suits a socket that was bound before.
    ///
    /// # Errors
    ///
    /// Ends the construction of the server; say which address could not be bound.
    fn server_bind(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Makes the bound socket ready: listening, and not blocking. Does nothing by default.
    ///
    /// # Errors
    ///
    /// Ends the construction of the server.
    fn server_activate(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Has new clients refused until [`server_reactivate`](Self::server_reactivate): see
    /// [`ServerHandle::stop_listening`].
    ///
    /// # Errors
    ///
    /// `Unsupported` by default; the server then lets new clients wait.
    fn server_deactivate(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Undoes [`server_deactivate`](Self::server_deactivate). Called again until it succeeds.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn server_reactivate(&self) -> io::Result<()> {
        Ok(())
    }

    /// The next request. Python's `get_request`.
    ///
    /// It must not block: with nobody there it returns `WouldBlock`, and the server sleeps until
    /// the descriptor is readable. What the server makes of other errors is told at
    /// [`on_accept_error`](crate::server::on_accept_error). It runs on the serving thread, where
    /// nothing slow belongs.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, and what the socket reports.
    #[doc(alias = "get_request")]
    fn accept(&self, server: &ServerHandle) -> io::Result<Self::Request>;

    /// The address it is bound to, or is to be bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname` reports.
    fn local_address(&self) -> io::Result<Address>;
}

/// A listener that the builder can make of an address of type `A`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` listener cannot be bound to a `{A}`",
    note = "IP servers take what `ToSocketAddrs` takes (`\"127.0.0.1:80\"`, `(\"::1\", 80)`), Unix servers a path"
)]
pub trait Bind<A>: Listener + Sized {
    /// Opens a socket for the address, not bound yet. The server binds it.
    ///
    /// A name may stand for several addresses: then there is one socket for each, in the order to
    /// be tried.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no address, with the address in the message; what the resolver
    /// reports.
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>>;
}
