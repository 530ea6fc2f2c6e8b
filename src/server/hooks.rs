use std::io;
use std::os::fd::BorrowedFd;

use crate::error::{HandlerError, HandlerResult, RequestError};
use crate::limits::RejectReason;
use crate::request::{Request, StreamRequest};
use crate::{Address, ServerHandle};

/// What a Python program overrides on its server class. Pass it to
/// [`Builder::hooks`](super::Builder::hooks).
///
/// Every method has a default. The methods take `&self`, because requests may run on many threads: keep
/// state behind a lock or in an atomic. `R` is the listener's type of request; for datagrams write `impl
/// Hooks<DatagramRequest>`.
///
/// A panic in a hook affects its own request only.
///
/// ```
/// use socketserver::prelude::*;
///
/// struct Careful;
///
/// impl Hooks for Careful {
///     fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
///         Ok(request.client_address.ip().is_some_and(|ip| ip.is_loopback()))
///     }
///
///     fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
///         if error.io_kind() != Some(std::io::ErrorKind::TimedOut) {
///             error.log(request);
///         }
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let server = TcpServer::builder().hooks(Careful).bind_fn("127.0.0.1:0", |_| Ok(()))?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no hooks for a server whose requests are `{R}`s",
    note = "implement `Hooks<{R}>` for it; `Hooks` without a type is for streams"
)]
pub trait Hooks<R: Request = StreamRequest>: Send + Sync + 'static {
    /// Called before the socket is bound. Set options here that must be set by then, with
    /// `socket2::SockRef::from(&socket)`.
    ///
    /// # Errors
    ///
    /// The construction of the server fails with this error.
    fn server_bind(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let _ = socket;
        Ok(())
    }

    /// Called when the socket is bound and does not listen yet. Change the mode of a Unix socket or join a
    /// multicast group here. `address` has the real port.
    ///
    /// # Errors
    ///
    /// The construction of the server fails with this error.
    fn server_activate(&self, socket: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
        let _ = (socket, address);
        Ok(())
    }

    /// Whether to serve this request. Runs on the thread of the accept loop: while it blocks, nothing is
    /// accepted. (Only on a server that requires PROXY headers it runs on the request's own thread or task, after
    /// the header, so that it sees the client.) What it writes to `wfile` is sent before a refused connection is closed,
    /// on a TLS server in plain text, before the handshake. There it must not read from `rfile`.
    ///
    /// # Errors
    ///
    /// An error refuses the request too, and goes to `handle_error`. (In Python it ends the server.)
    fn verify_request(&self, request: &mut R) -> Result<bool, HandlerError> {
        let _ = request;
        Ok(true)
    }

    /// Called for a request that cannot be served, before it is closed. Write a `503` or a line here, to
    /// tell the client. `why` is the limit that was reached; [`overload`](super::Builder::overload) and
    /// [`max_per_ip`](super::Builder::max_per_ip) set when requests are rejected. Writes nothing by default.
    ///
    /// Runs on one of 16 threads for rejections, so accepting goes on. (Beyond `max_per_ip` on a server that
    /// requires PROXY headers: on the request's own thread or task.) The connection ends one second later,
    /// so a client that does not read takes no longer; other waiting of a hook is not
    /// interrupted. If 1,024 rejections run or wait, requests beyond `max_per_ip` are closed without this
    /// call, and no client is accepted only to be rejected. A datagram has no time limit.
    ///
    /// Not called on a TLS server: its client could read nothing without a handshake, and is closed at once.
    ///
    /// A server that forks has no such threads. There the hook runs on the thread of the accept loop, nothing
    /// is accepted meanwhile, and each read and write has one second. Write one line there, and read nothing.
    ///
    /// # Errors
    ///
    /// Go to `handle_error`.
    #[doc(alias("503", "load shedding"))]
    fn reject_request(&self, request: &mut R, why: RejectReason) -> HandlerResult {
        let _ = (request, why);
        Ok(())
    }

    /// Called after an error or panic in a request, on the thread that ran it. The connection is still open.
    /// [Logs](RequestError::log) the error by default.
    ///
    /// What a blocked handler sees, and what arrives here if it returns the error:
    ///
    /// | cause | a read | a write | `io_kind()` | counted as |
    /// |---|---|---|---|---|
    /// | `read_timeout`, where no `idle_timeout` replaces it; `write_timeout` | fails, can be repeated | fails | `TimedOut` | `timed_out` |
    /// | `max_lifetime` | fails, also when repeated | fails, also when repeated | `TimedOut` | `timed_out` |
    /// | `idle_timeout`; a graceful shutdown while it was idle | returns the end of the stream | goes on | no error | as the handler ends |
    /// | a forced close (`shutdown_timeout`, second Ctrl-C) | fails, also when repeated | fails, also when repeated | `ConnectionAborted` | `disconnected` |
    /// | the client has disconnected | returns the end of the stream, or fails | fails | `ConnectionReset`, `BrokenPipe`; `NotConnected` of `shutdown` | `disconnected` |
    /// | the client has closed inside a message (`read_exact`, `framing`, TLS) | fails | | `UnexpectedEof` | `disconnected` |
    /// | no valid PROXY header (only on a server that requires one; before the handler) | | | `TimedOut`; `InvalidData`; `UnexpectedEof` if there was no byte | `timed_out`; `failed`; `disconnected` |
    /// | the socket of a datagram's client is gone, or has no address | | fails | `NotFound`, `ConnectionRefused`, `AddrNotAvailable` | `disconnected` |
    ///
    /// [`RequestError::is_disconnect`] tells these kinds apart from those of a file or another connection.
    fn handle_error(&self, request: &mut R, error: &RequestError) {
        error.log(request);
    }

    /// Called in every turn of `serve_forever`: after each request, and at least once per
    /// [`poll_interval`](super::Builder::poll_interval).
    ///
    /// # Errors
    ///
    /// `serve_forever` ends and returns the error.
    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        let _ = server;
        Ok(())
    }

    /// Called in every turn of the accept loop, and at once when a signal handler of the program has
    /// interrupted its wait for clients. A program that hosts an interpreter runs the interpreter's own signal
    /// handlers here, as Python does between two instructions.
    ///
    /// It runs on the thread that serves. The system calls a signal handler on any thread that does not block
    /// its signal, so only signals that this thread receives end its wait. One that arrives just before the
    /// wait is noticed in the next turn, at the latest after [`poll_interval`](super::Builder::poll_interval);
    /// in `handle_request` after its [`timeout`](super::Builder::timeout).
    ///
    /// ```no_run
    /// use std::io;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use socketserver::prelude::*;
    ///
    /// /// Set by the host's signal handler.
    /// static PENDING: AtomicBool = AtomicBool::new(false);
    ///
    /// struct Host;
    ///
    /// impl Hooks for Host {
    ///     fn handle_interrupt(&self, _: &ServerHandle) -> io::Result<()> {
    ///         if PENDING.swap(false, Ordering::SeqCst) {
    ///             return Err(io::Error::other("KeyboardInterrupt"));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn main() -> io::Result<()> {
    /// let server = TcpServer::builder().hooks(Host).bind_fn("127.0.0.1:9999", |_| Ok(()))?;
    /// server.serve_forever()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `serve_forever` or `handle_request` ends and returns the error.
    #[doc(alias("EINTR", "PyErr_CheckSignals"))]
    fn handle_interrupt(&self, server: &ServerHandle) -> io::Result<()> {
        let _ = server;
        Ok(())
    }

    /// Called when `handle_request` has waited for its [`timeout`](super::Builder::timeout) without a
    /// request. Not called after a shutdown or [`stop_serving`](ServerHandle::stop_serving).
    fn handle_timeout(&self, server: &ServerHandle) {
        let _ = server;
    }

    /// Called when the server is closed: the socket is closed, and, if the server
    /// [blocks on close](super::Builder::block_on_close), the last request has ended.
    fn server_close(&self, server: &ServerHandle) {
        let _ = server;
    }
}
