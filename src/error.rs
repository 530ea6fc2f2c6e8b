use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Address;
use crate::framing::FramingError;
use crate::log_line::log_line;

/// Any error of a handler or hook. `?` converts every error type to it, and so does `"text".into()`.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// What handlers return. The error goes to [`Hooks::handle_error`](crate::Hooks::handle_error).
pub type HandlerResult = Result<(), HandlerError>;

/// The step in which an error of a request happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// [`Hooks::verify_request`](crate::Hooks::verify_request), on the thread of the accept loop, or, behind a
    /// PROXY header, on the thread or task of the request.
    Verify,
    /// Passing the request to its thread or process, for example if a thread cannot be started.
    Dispatch,
    /// Receiving the PROXY header, on a server that requires one (feature `proxy-protocol`).
    ProxyHeader,
    /// The TLS handshake, before the handler is made.
    Handshake,
    /// Making the handler, setting the socket's options,
    /// [`RequestHandler::setup`](crate::RequestHandler::setup).
    Setup,
    /// [`RequestHandler::handle`](crate::RequestHandler::handle).
    Handle,
    /// [`Hooks::reject_request`](crate::Hooks::reject_request), on a thread for rejections, or on the
    /// thread of the accept loop of a server that forks.
    Reject,
    /// [`RequestHandler::finish`](crate::RequestHandler::finish), and the flush of `wfile` after it.
    Finish,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Verify => "verify_request",
            Stage::Dispatch => "dispatch",
            Stage::ProxyHeader => "PROXY header",
            Stage::Reject => "reject_request",
            Stage::Handshake => "the TLS handshake",
            Stage::Setup => "setup",
            Stage::Handle => "handle",
            Stage::Finish => "finish",
        })
    }
}

/// An error of one request, with the step in which it happened. Goes to
/// [`Hooks::handle_error`](crate::Hooks::handle_error).
#[derive(Debug)]
pub struct RequestError {
    stage: Stage,
    error: HandlerError,
    is_disconnect: bool,
}

impl RequestError {
    pub(crate) fn new(stage: Stage, error: impl Into<HandlerError>) -> Self {
        RequestError {
            stage,
            error: error.into(),
            is_disconnect: false,
        }
    }

    pub(crate) fn set_disconnect(&mut self, is_disconnect: bool) {
        self.is_disconnect = is_disconnect;
    }

    /// The step in which it happened.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The error as the handler returned it. It can be downcast to its own type.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }

    /// The kind of the first `io::Error` or [`FramingError`] in the error or its sources, if there is
    /// one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        let kind = |error: &(dyn Error + 'static)| match error.downcast_ref::<FramingError>() {
            Some(error) => Some(error.kind()),
            None => error.downcast_ref().map(io::Error::kind),
        };
        self.chain().find_map(kind)
    }

    /// The system's error number, as [`raw_os_error`] finds it. Python's `error.errno`.
    #[doc(alias = "errno")]
    pub fn raw_os_error(&self) -> Option<i32> {
        raw_os_error(&*self.error)
    }

    /// The first `io::Error` in the error or its sources.
    pub(crate) fn io_error(&self) -> Option<&io::Error> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        chain(&*self.error)
    }

    /// Whether the client has disconnected, or a forced close during a shutdown has ended the
    /// connection. That depends on the [kind](Self::io_kind):
    ///
    /// - `BrokenPipe`, `ConnectionReset` and `ConnectionAborted` are a disconnect.
    /// - `UnexpectedEof` is one if a read of `rfile` has returned the client's end of the stream inside a
    ///   message, also one of [`framing`](crate::framing) or of TLS. It is not, as with the end of a file,
    ///   while the client is still there, or if the client has ended the stream where the handler
    ///   [waits for a message](crate::StreamRequest::wait_for_data).
    /// - `NotConnected` is one if the request's own socket is not connected any more, as after a reset.
    /// - `NotFound` and `ConnectionRefused` are one if a datagram to the client's address failed with it:
    ///   its socket is gone. So is `AddrNotAvailable` for a client without an address. The same kinds from
    ///   a file, or from a connection that the handler has opened, are not.
    ///
    /// Other kinds are not, nor is an error that the handler has given another kind.
    pub fn is_disconnect(&self) -> bool {
        self.is_disconnect
    }

    /// Whether a TLS handshake has failed, also one in the middle of a conversation.
    pub(crate) fn is_handshake(&self) -> bool {
        #[cfg(feature = "tls")]
        return self
            .io_error()
            .and_then(io::Error::get_ref)
            .is_some_and(|error| error.is::<crate::tls::HandshakeFailed>());
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Whether the handler or hook panicked.
    pub fn is_panic(&self) -> bool {
        self.error.is::<Panicked>()
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.stage)?;
        self.chain().try_for_each(|error| write!(f, ": {error}"))
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

/// The system's error number (errno) of the first `io::Error` that has one, in `error` or its sources.
///
/// This crate's errors say what failed, and with which address. `io::Error::raw_os_error` returns `None` for
/// an error with such a text; this function returns the number.
///
/// ```
/// use socketserver::prelude::*;
/// use socketserver::raw_os_error;
///
/// // EADDRNOTAVAIL on Linux.
/// const ADDRESS_NOT_AVAILABLE: i32 = 99;
///
/// let error = TcpServer::bind_fn("192.0.2.1:0", |_| Ok(())).unwrap_err();
/// # if cfg!(target_os = "linux") {
/// assert_eq!(raw_os_error(&error), Some(ADDRESS_NOT_AVAILABLE));
/// # }
/// ```
#[doc(alias = "errno")]
pub fn raw_os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let number = |error: &(dyn Error + 'static)| {
        if let Some(described) = error.downcast_ref::<SystemError>() {
            return described.os_error;
        }
        let error: &io::Error = error.downcast_ref()?;
        // What it wraps is not one of its sources.
        let wrapped = || raw_os_error(error.get_ref()?);
        error.raw_os_error().or_else(wrapped)
    };
    chain(error).find_map(number)
}

/// An error and its sources.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// An error of the system with a text that says what failed. The text contains the system's own text, so it
/// has no source.
#[derive(Debug)]
pub(crate) struct SystemError {
    text: String,
    os_error: Option<i32>,
    /// The address to which a datagram was not sent.
    pub(crate) receiver: Option<Address>,
}

impl SystemError {
    /// `error` with this text.
    pub(crate) fn describe(error: &io::Error, text: String) -> io::Error {
        SystemError::new(error, text).with_kind(error.kind())
    }

    pub(crate) fn new(error: &io::Error, text: String) -> Self {
        SystemError {
            text,
            os_error: raw_os_error(error),
            receiver: None,
        }
    }

    pub(crate) fn with_kind(self, kind: io::ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }

    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for SystemError {}

/// The error that represents a panic. Its text is the panic's message.
#[derive(Debug)]
pub(crate) struct Panicked(String);

impl Panicked {
    /// Takes what a panic has thrown.
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let panicked = Panicked(text.unwrap_or("a value that is not text").to_owned());
        // Its drop may panic too, and so may the drop of what that throws.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        dropped.unwrap_or_else(mem::forget);
        panicked
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl Error for Panicked {}

// What catches panics. The functions differ in what becomes of a panic: an error of the request, a line
// in the log, or nothing.
//
// A value whose drop is code of the program's own is not moved into them, but borrowed: while a panic
// unwinds, the panic of another drop would abort the process.

/// Runs a step of a request. A panic becomes its error: Python's `except Exception`.
#[inline]
pub(crate) fn catch_as_error<T>(
    stage: Stage,
    step: impl FnOnce() -> Result<T, HandlerError>,
) -> Result<T, RequestError> {
    let result = catch(step).unwrap_or_else(|panicked| Err(panicked.into()));
    result.map_err(|error| RequestError::new(stage, error))
}

/// Runs what must not end the server. A panic is logged, and `None` returned.
#[inline]
pub(crate) fn catch_and_log<T>(what: impl fmt::Display, run: impl FnOnce() -> T) -> Option<T> {
    let log = |panicked| log_line!(target: "socketserver::server", Error, "{what} {panicked}");
    catch(run).map_err(log).ok()
}

/// Runs what may panic in the code that reports panics. Returns `None` then.
#[inline]
pub(crate) fn catch_silently<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch(run).ok()
}

/// What may be broken after a panic belongs to the request, which is closed, or to the handler, which is
/// dropped.
#[inline]
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(Panicked::new)
}
