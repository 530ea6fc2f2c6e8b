use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{HandlerError, HandlerResult, Panicked, RequestError, Stage};
use crate::request::{Request, StreamRequest};

/// Handles one request. Python's `BaseRequestHandler`.
///
/// A connection is one request, and so is a datagram (`impl RequestHandler<DatagramRequest>`); one
/// type may implement both. The server makes a new handler for each request, and this is its life,
/// all on one thread:
///
/// 1. The factory given to [`bind`](crate::Builder::bind) makes it.
/// 2. [`setup`](Self::setup). If it fails, steps 3 and 4 are left out.
/// 3. [`handle`](Self::handle).
/// 4. [`finish`](Self::finish), also after an error or a panic in `handle`. Then what `wfile` holds
///    is sent.
/// 5. The handler is dropped, and the connection is shut down and closed.
///
/// Each step that fails or panics is reported to
/// [`Hooks::handle_error`](crate::Hooks::handle_error) before step 5. It costs no other request
/// anything.
///
/// State of one connection lives in the handler; state of the server is what the factory captures.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use socketserver::prelude::*;
///
/// struct Counter {
///     visits: Arc<AtomicU64>,
/// }
///
/// impl RequestHandler for Counter {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         let n = self.visits.fetch_add(1, Ordering::Relaxed) + 1;
///         writeln!(request.wfile, "you are number {n}")?;
///         Ok(())
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let visits = Arc::new(AtomicU64::new(0));
/// let server = TcpServer::bind("127.0.0.1:0", move || Counter { visits: visits.clone() })?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle a `{R}`",
    note = "implement `RequestHandler<{R}>` for it; handlers of streams and of datagrams are two implementations"
)]
pub trait RequestHandler<R = StreamRequest> {
    /// Runs before `handle`. Does nothing by default.
    ///
    /// # Errors
    ///
    /// An error ends the request: neither `handle` nor `finish` runs, as in Python.
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }

    /// Serves the request.
    ///
    /// # Errors
    ///
    /// Any error ends the request after `finish`, and goes to `handle_error`. A client that went
    /// away is logged at debug level only, so `?` on every read and write is right.
    fn handle(&mut self, request: &mut R) -> HandlerResult;

    /// Runs after `handle`, whatever its end, if `setup` succeeded. Does nothing by default.
    ///
    /// # Errors
    ///
    /// Goes to `handle_error` like any other.
    fn finish(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }
}

/// A closure is a handler with nothing but `handle`.
impl<R, F: FnMut(&mut R) -> HandlerResult> RequestHandler<R> for F {
    fn handle(&mut self, request: &mut R) -> HandlerResult {
        self(request)
    }
}

impl<R> RequestHandler<R> for Box<dyn RequestHandler<R>> {
    fn setup(&mut self, request: &mut R) -> HandlerResult {
        (**self).setup(request)
    }

    fn handle(&mut self, request: &mut R) -> HandlerResult {
        (**self).handle(request)
    }

    fn finish(&mut self, request: &mut R) -> HandlerResult {
        (**self).finish(request)
    }
}

/// The one driver of setup → handle → finish. Whatever fails is reported, and nothing unwinds out
/// of here.
pub(crate) fn finish_request<R: Request, H: RequestHandler<R>>(
    make_handler: &dyn Fn() -> H,
    request: &mut R,
    report: &dyn Fn(&mut R, RequestError),
) {
    let set_up = guard(Stage::Setup, || {
        request.begin()?;
        let mut handler = make_handler();
        handler.setup(request)?;
        Ok(handler)
    });
    let mut handler = match set_up {
        Ok(handler) => handler,
        Err(error) => return report(request, error),
    };
    let mut attempt = |stage, step: &mut dyn FnMut(&mut R) -> HandlerResult| {
        if let Err(error) = guard(stage, || step(request)) {
            report(request, error);
        }
    };
    attempt(Stage::Handle, &mut |request| handler.handle(request));
    attempt(Stage::Finish, &mut |request| handler.finish(request));
    attempt(Stage::Finish, &mut |request| Ok(request.end()?));
    if let Err(error) = guard(Stage::Finish, move || {
        drop(handler);
        Ok(())
    }) {
        report(request, error);
    }
}

/// Runs one step. A panic becomes an error like any other: Python's `except Exception`.
pub(crate) fn guard<T>(
    stage: Stage,
    step: impl FnOnce() -> Result<T, HandlerError>,
) -> Result<T, RequestError> {
    // The state behind a panic is the handler's, which is dropped, and the request's, which is
    // closed.
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(|error| RequestError::new(stage, error)),
        Err(payload) => Err(RequestError::new(stage, Panicked::new(&*payload))),
    }
}
