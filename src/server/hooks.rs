use std::io;
use std::os::fd::BorrowedFd;

use crate::error::{HandlerError, HandlerResult, RequestError};
use crate::limits::RejectReason;
use crate::request::{Request, StreamRequest};
use crate::{Address, ServerHandle};

/// What a Python program overrides on its server class. Give it to
/// [`Builder::hooks`](super::Builder::hooks).
///
/// Every method has a default. They take `&self` because requests may run on many threads: state
/// goes behind a lock or an atomic. `R` is what the listener gives out; write `impl
/// Hooks<DatagramRequest>` for datagrams.
///
/// A hook that panics while the server serves costs its own request only.
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
pub trait Hooks<R: Request = StreamRequest>: Send + Sync + 'static {
    /// Just before the socket is bound: options that must be set by then, with
    /// `socket2::SockRef::from(&socket)`.
    ///
    /// # Errors
    ///
    /// Ends the construction of the server.
    fn server_bind(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let _ = socket;
        Ok(())
    }

    /// The socket is bound, and does not listen yet: change a Unix socket's mode, join a multicast
    /// group. `address` has the real port.
    ///
    /// # Errors
    ///
    /// Ends the construction of the server.
    fn server_activate(&self, socket: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
        let _ = (socket, address);
        Ok(())
    }

    /// Whether to serve this request. Runs on the serving thread, so nothing slow belongs here.
    /// What it writes to `wfile` goes out before a refused client is shut down: a rejection with
    /// words.
    ///
    /// # Errors
    ///
    /// An error refuses the request too, and goes to `handle_error`. (In Python it ends the
    /// server.)
    fn verify_request(&self, request: &mut R) -> Result<bool, HandlerError> {
        let _ = request;
        Ok(true)
    }

    /// There is no room for this request: tell the client so, with a `503` or a line, before it is
    /// closed. `why` says what was full; what fills up, and what happens then, is set with
    /// [`overload`](super::Builder::overload) and [`max_per_ip`](super::Builder::max_per_ip).
    /// By default nothing is said.
    ///
    /// Runs on one of 16 threads kept for this, so accepting goes on. The connection is ended a second
    /// after its turn has come, so a client that does not read, or is waited for, costs no more than
    /// that; a hook that waits for something else is not interrupted. If 1,024 rejections run or wait
    /// for their turn, those of `max_per_ip` are closed without a word, and nobody is accepted
    /// only to be rejected. A datagram has no time limit.
    ///
    /// Servers that fork have no such threads: there it runs on the serving thread, nobody is accepted
    /// meanwhile, and each read and write has a second. Write a line there, and read nothing.
    ///
    /// # Errors
    ///
    /// Go to `handle_error`.
    fn reject_request(&self, request: &mut R, why: RejectReason) -> HandlerResult {
        let _ = (request, why);
        Ok(())
    }

    /// An error or panic in one request, on the thread that ran it, with the connection still open.
    /// By default it is [logged](RequestError::log).
    ///
    /// What becomes of a handler that is blocked, and what arrives here if it passes the error on:
    ///
    /// | what ended it | a read | a write | `io_kind()` | counted as |
    /// |---|---|---|---|---|
    /// | `read_timeout`, if no `idle_timeout` holds; `write_timeout` | fails, can be tried again | fails | `TimedOut` | `timed_out` |
    /// | `max_lifetime` | fails for good | fails for good | `TimedOut` | `timed_out` |
    /// | `idle_timeout`; a shutdown, if it was idle | sees the end of the stream | goes on | no error | as the handler ends |
    /// | a shutdown whose time is over, a second Ctrl-C | fails for good | fails for good | `ConnectionAborted` | `disconnected` |
    /// | the client has gone | sees the end or fails | fails | `ConnectionReset`, `BrokenPipe` | `disconnected` |
    fn handle_error(&self, request: &mut R, error: &RequestError) {
        error.log(request);
    }

    /// Runs on every turn of `serve_forever`: after each request, and at least every
    /// [`poll_interval`](super::Builder::poll_interval).
    ///
    /// # Errors
    ///
    /// Ends `serve_forever`, which returns it.
    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        let _ = server;
        Ok(())
    }

    /// No request came within [`timeout`](super::Builder::timeout) of `handle_request`. Not called
    /// when a shutdown ended the wait.
    fn handle_timeout(&self, server: &ServerHandle) {
        let _ = server;
    }

    /// The server is closed: the socket first, then, if it [blocks on
    /// close](super::Builder::block_on_close), the last request.
    fn server_close(&self, server: &ServerHandle) {
        let _ = server;
    }
}

/// The defaults, for a server without hooks.
pub(super) struct NoHooks;

impl<R: Request> Hooks<R> for NoHooks {}
