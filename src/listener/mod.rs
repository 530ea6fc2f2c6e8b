//! Where requests come from: Python's server classes without their mix-ins.
//!
//! | | [`Tcp`] | [`Unix`] | [`Udp`] | [`UnixDatagram`] |
//! |---|---|---|---|---|
//! | Python | `TCPServer` | `UnixStreamServer` | `UDPServer` | `UnixDatagramServer` |
//! | address | IP address and port | path or Linux abstract name | IP address and port | path or Linux abstract name |
//! | one request is | a connection | a connection | a datagram | a datagram |
//! | `From`, to adopt a socket: an `OwnedFd`, or | `std::net::TcpListener` | `std::os::unix::net::UnixListener` | `std::net::UdpSocket` | `std::os::unix::net::UnixDatagram` |
//! | clients have an address | yes | rarely | yes | only if they bound one |
//! | `allow_reuse_address` by default | true | not used | false | not used |
//! | `stop_listening` | refuses clients on Linux | refuses clients if there is a path | same as `pause` | same as `pause` |
//! | on close | | removes its path | | removes its path |
//!
//! Both IP kinds take any `std::net::ToSocketAddrs`: `"127.0.0.1:80"`, `("::1", 80)`,
//! `"localhost:80"`. If a name has several addresses, the server uses the first that it can bind. An
//! abstract name is a path that starts with a zero byte: `"\0name"`. All kinds take an [`Address`] of their
//! family, such as one that was parsed from a setting.
//!
//! Your own listener implements [`Listener`], usually by wrapping one of these. In Python that means
//! to override `get_request`.

mod datagram;
mod socket;
mod socket_path;
mod tcp;
mod unix;

use std::io;
use std::os::fd::AsFd;
#[cfg(feature = "restart")]
use std::os::fd::OwnedFd;

pub use self::datagram::{Udp, UnixDatagram};
#[doc(alias = "TIME_WAIT")]
pub use self::tcp::Tcp;
pub use self::unix::Unix;
pub use crate::options::SocketOptions;
use crate::request::Request;
use crate::{Address, ServerHandle};

/// A socket that requests come from.
///
/// The server calls [`server_bind`](Self::server_bind), then
/// [`server_activate`](Self::server_activate), then [`accept`](Self::accept) each time the descriptor
/// is readable. Dropping the listener closes the socket.
///
/// ```
/// use std::io;
/// use std::os::fd::{AsFd, BorrowedFd};
///
/// use socketserver::listener::{Listener, SocketOptions, Tcp};
/// use socketserver::prelude::*;
/// use socketserver::{Address, Server, ServerHandle, dispatch::Inline};
///
/// /// TCP that stores each connection's number in its extensions.
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
///     fn set_options(&mut self, options: &SocketOptions) {
///         self.0.set_options(options);
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
    /// What `accept` returns: [`StreamRequest`](crate::StreamRequest) or
    /// [`DatagramRequest`](crate::DatagramRequest).
    type Request: Request;

    /// Takes those settings of the builder that apply to a socket that exists: `request_queue_size` and
    /// `max_packet_size`. [`Builder::adopt`](crate::Builder::adopt) calls this first. The default does
    /// nothing; a listener that wraps another one passes them on.
    fn set_options(&mut self, options: &SocketOptions) {
        let _ = options;
    }

    /// Binds the socket. The default does nothing, for a socket that is already bound.
    ///
    /// # Errors
    ///
    /// An error ends the construction of the server. Its text should name the address.
    fn server_bind(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes the place of [`server_bind`](Self::server_bind) in a process that [replaces](crate::restart) another one: uses
    /// `socket`, which the other process has bound to the same address. A listener that wraps another one passes it on.
    /// Feature `restart`.
    ///
    /// # Errors
    ///
    /// `Unsupported` by default. An error ends the construction of the server.
    #[cfg(feature = "restart")]
    fn server_take_over(&mut self, socket: OwnedFd) -> io::Result<()> {
        drop(socket);
        let text = "this listener cannot take over the socket of another process: implement Listener::server_take_over";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Makes the bound socket listen and sets it non-blocking. The default does nothing.
    ///
    /// # Errors
    ///
    /// An error ends the construction of the server.
    fn server_activate(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Refuses new clients until [`server_reactivate`](Self::server_reactivate) is called:
    /// [`ServerHandle::stop_listening`] calls this.
    ///
    /// # Errors
    ///
    /// `Unsupported` by default. The server then lets new clients wait, as after
    /// [`ServerHandle::pause`].
    fn server_deactivate(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Undoes [`server_deactivate`](Self::server_deactivate). After an error the server calls it
    /// again until it succeeds. The default does nothing.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    fn server_reactivate(&self) -> io::Result<()> {
        Ok(())
    }

    /// Returns the next request. Python's `get_request`.
    ///
    /// It must not block: if no client waits, it returns `WouldBlock`. It runs on the acceptor's
    /// thread, so slow work here delays all other clients.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, and errors of the socket. The reaction of the server depends on the error:
    ///
    /// | error | the server |
    /// |---|---|
    /// | `WouldBlock` (`EAGAIN`) | waits until the descriptor is readable |
    /// | `Interrupted` (`EINTR`) | accepts again at once |
    /// | `ConnectionAborted`, `ConnectionReset`, `ConnectionRefused`, `TimedOut`: the client has closed its connection | accepts again at once |
    /// | `PermissionDenied` (`EPERM`): a firewall rejected the client | accepts again at once |
    /// | `NetworkDown`, `NetworkUnreachable`, `HostUnreachable`: a network error of the new connection, see accept(2) | accepts again at once |
    /// | `EMFILE`, `ENFILE`: no descriptor is free | closes the server's [lingering](crate::Builder::max_lingering) connections, logs a warning, pauses, accepts again |
    /// | `ENOBUFS`, `ENOMEM`: no memory | logs a warning, pauses, accepts again |
    /// | `InvalidInput` (`EINVAL`), `Unsupported` (`EOPNOTSUPP`), `EBADF`, `ENOTSOCK`, `EFAULT`: this is not a listening socket | stops: `serve_forever` returns the error |
    /// | any other error | logs a warning, pauses, accepts again |
    ///
    /// The first pause takes 5 ms. Each further pause takes twice as long, up to 1 s, until a client
    /// is accepted. So a server without free descriptors uses almost no processor time and continues
    /// by itself. After 1,000 errors of the kinds "accepts again at once" in a row the server pauses
    /// too. To stop serving, your own listener returns `InvalidInput`.
    #[doc(alias = "get_request")]
    fn accept(&self, server: &ServerHandle) -> io::Result<Self::Request>;

    /// The address that the socket is bound to. Before [`server_bind`](Self::server_bind): the
    /// requested address.
    ///
    /// # Errors
    ///
    /// Errors of `getsockname`.
    #[doc(alias = "getsockname")]
    fn local_address(&self) -> io::Result<Address>;
}

/// A listener that [`Builder::bind`](crate::Builder::bind) can make from an address of type `A`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` listener cannot be bound to a `{A}`",
    note = "IP servers take what `ToSocketAddrs` takes (`\"127.0.0.1:80\"`, `(\"::1\", 80)`), Unix servers take a path; both take an `Address`"
)]
pub trait Bind<A>: Listener + Sized {
    /// Opens a socket for the address. The server binds it later.
    ///
    /// A name can have several addresses. Then this returns one socket for each, and the server binds
    /// them in this order until one succeeds.
    ///
    /// Blocks while the resolver looks up a name.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `address` is not an address, with `address` in the text; errors of the resolver;
    /// errors of opening the socket.
    fn open(address: A, options: &SocketOptions) -> io::Result<Vec<Self>>;
}

/// The class of an error of [`Listener::accept`], which determines the reaction of the accept loop.
/// `WouldBlock` is not one of them.
pub(crate) enum AcceptError {
    /// An error of one client. The accept loop retries at once.
    Client,
    /// The system lacks a resource. The accept loop pauses.
    System,
    /// The listening socket cannot be used. The accept loop ends.
    Listener,
}

impl AcceptError {
    /// Whether the process or the system has no free descriptor.
    pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
    }

    pub(crate) fn of(error: &io::Error) -> Self {
        use io::ErrorKind::*;
        const EBADF: i32 = 9;
        const EFAULT: i32 = 14;
        const ENOTSOCK: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
            88
        } else {
            38
        };
        match (error.kind(), error.raw_os_error()) {
            // Network errors that are pending on the new socket. According to accept(2), retry after them.
            (NetworkDown | NetworkUnreachable | HostUnreachable, _) => AcceptError::Client,
            (Interrupted | ConnectionAborted | ConnectionReset | ConnectionRefused, _) => {
                AcceptError::Client
            }
            (PermissionDenied | TimedOut, _) => AcceptError::Client,
            (InvalidInput | Unsupported, _) => AcceptError::Listener,
            (_, Some(EBADF | EFAULT | ENOTSOCK)) => AcceptError::Listener,
            _ => AcceptError::System,
        }
    }
}
