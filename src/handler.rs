use crate::error::{HandlerResult, RequestError, Stage, catch_as_error};
use crate::request::{Request, StreamRequest};

/// Handles one request. Python's `BaseRequestHandler`.
///
/// A connection is one request, and so is a datagram (`impl RequestHandler<DatagramRequest>`); one type
/// may implement both. The server makes a new handler for each request. Its life, on one thread:
///
/// 1. The handler factory given to [`bind`](crate::Builder::bind) makes it.
/// 2. [`setup`](Self::setup). If it fails, steps 3 and 4 do not run.
/// 3. [`handle`](Self::handle).
/// 4. [`finish`](Self::finish), also after an error or a panic in `handle`. Then `wfile` is flushed.
/// 5. The handler is dropped, and the connection is shut down and closed.
///
/// Each error or panic in these steps is reported to
/// [`Hooks::handle_error`](crate::Hooks::handle_error) before step 5. Other requests are not affected.
///
/// The state of one connection belongs in the handler. The state of the server is what the factory
/// captures.
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
    note = "implement `RequestHandler<{R}>` for it; a handler of streams and a handler of datagrams are two implementations"
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
    /// Any error ends the request after `finish`, and goes to `handle_error`. Errors of a client that has
    /// disconnected are logged at debug level only, so use `?` on every read and write.
    fn handle(&mut self, request: &mut R) -> HandlerResult;

    /// Runs after `handle`, also after an error, if `setup` succeeded. Does nothing by default.
    ///
    /// # Errors
    ///
    /// Go to `handle_error`.
    fn finish(&mut self, request: &mut R) -> HandlerResult {
        let _ = request;
        Ok(())
    }
}

/// Makes a handler for each request: every closure that returns one. Python's handler class.
///
/// The bound of [`Builder::bind`](crate::Builder::bind). It exists for the compiler's error when a handler is
/// given instead: `F: Fn() -> H` is all that it takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler factory",
    label = "expected a closure that makes a handler",
    note = "`bind` takes a closure that makes a handler for each request: `|| MyHandler`",
    note = "`bind_fn` takes a closure that handles each request: `|request| …`"
)]
pub trait HandlerFactory<H>: Fn() -> H {}

// Otherwise the error would be about `Fn()`.
#[diagnostic::do_not_recommend]
impl<H, F: Fn() -> H> HandlerFactory<H> for F {}

/// A closure is a handler with `handle` only.
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

/// Reports an error of a handler.
pub(crate) type Report<'a, R> = dyn Fn(&mut R, RequestError) + 'a;

/// Runs setup → handle → finish, and reports each failure. Never panics.
pub(crate) fn run_handler<R: Request, H: RequestHandler<R>>(
    make_handler: impl FnOnce() -> H,
    request: &mut R,
    report: &Report<'_, R>,
) {
    let made = catch_as_error(Stage::Setup, || Ok(request.begin()?))
        .and_then(|()| catch_as_error(Stage::Handshake, || Ok(request.handshake()?)))
        .and_then(|()| catch_as_error(Stage::Setup, || Ok(make_handler())));
    let mut handler = match made {
        Ok(handler) => handler,
        Err(error) => return report(request, error),
    };
    if run_step(Stage::Setup, H::setup, &mut handler, request, report) {
        run_step(Stage::Handle, H::handle, &mut handler, request, report);
        run_step(Stage::Finish, H::finish, &mut handler, request, report);
        let end = |_: &mut H, request: &mut R| Ok(request.end()?);
        run_step(Stage::Finish, end, &mut handler, request, report);
    }
    let dropped = catch_as_error(Stage::Finish, move || {
        drop(handler);
        Ok(())
    });
    if let Err(error) = dropped {
        report(request, error);
    }
}

/// Returns whether the step has succeeded. Generic, so that an optimised build contains no step that does nothing.
#[inline]
fn run_step<R, H>(
    stage: Stage,
    step: impl FnOnce(&mut H, &mut R) -> HandlerResult,
    handler: &mut H,
    request: &mut R,
    report: &Report<'_, R>,
) -> bool {
    let result = catch_as_error(stage, || step(handler, request));
    result.map_err(|error| report(request, error)).is_ok()
}
