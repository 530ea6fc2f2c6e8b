use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Hooks;
use crate::ServerHandle;
use crate::dispatch::Task;
use crate::error::{HandlerResult, Panicked, RequestError, Stage};
use crate::handler::{RequestHandler, finish_request};
use crate::request::Request;

/// What becomes of an accepted request: the handlers and the hooks of one server.
pub(super) struct Service<R> {
    pub(super) hooks: Box<dyn Hooks<R>>,
    /// Drives one handler from `setup` to `finish`. The handler's type ends here, so that servers
    /// can be named.
    pub(super) finish_request: Box<FinishRequest<R>>,
}

pub(super) type FinishRequest<R> = dyn Fn(&mut R, &Report<'_, R>) + Send + Sync;
type Report<'a, R> = dyn Fn(&mut R, RequestError) + 'a;

/// A new handler for each request.
pub(super) fn from_factory<R, F, H>(make_handler: F) -> Box<FinishRequest<R>>
where
    R: Request,
    F: Fn() -> H + Send + Sync + 'static,
    H: RequestHandler<R>,
{
    Box::new(move |request, report| finish_request(&make_handler, request, report))
}

/// One closure, lent to each request.
pub(super) fn from_closure<R, F>(handle: F) -> Box<FinishRequest<R>>
where
    R: Request,
    F: Fn(&mut R) -> HandlerResult + Send + Sync + 'static,
{
    Box::new(move |request, report| {
        finish_request(&|| |request: &mut R| handle(request), request, report)
    })
}

impl<R: Request> Service<R> {
    /// Shuts a request down that is not to be handled, after sending what a hook wrote to it.
    pub(super) fn refuse(&self, mut request: R, error: Option<RequestError>) {
        if let Some(error) = error {
            self.handle_error(&mut request, error);
        }
        if let Err(error) = request.end() {
            self.handle_error(&mut request, RequestError::new(Stage::Verify, error));
        }
        close(request);
    }

    fn handle_error(&self, request: &mut R, error: RequestError) {
        shielded("handle_error", || self.hooks.handle_error(request, &error));
    }
}

/// One request on its way to its handler.
pub(super) struct Work<R> {
    request: R,
    service: Arc<Service<R>>,
    // Last, for the request is active until it is closed.
    active: Active,
}

impl<R: Request> Work<R> {
    pub(super) fn new(request: R, service: Arc<Service<R>>) -> Self {
        let active = Active::new(request.server());
        Work {
            request,
            service,
            active,
        }
    }
}

/// Counts a request as active, from accept to close.
struct Active(ServerHandle);

impl Active {
    fn new(server: &ServerHandle) -> Self {
        server.registry().enter();
        Active(server.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.registry().leave();
    }
}

impl<R: Request> Task for Work<R> {
    fn run(mut self: Box<Self>) {
        let Work {
            request,
            service,
            active,
        } = &mut *self;
        let here = active.0.registry().run_here();
        (service.finish_request)(request, &|request, error| {
            service.handle_error(request, error)
        });
        close(self);
        drop(here);
    }

    fn refuse(self: Box<Self>, error: io::Error) {
        let Work {
            request,
            service,
            active,
        } = *self;
        let _here = active.0.registry().run_here();
        service.refuse(request, Some(RequestError::new(Stage::Dispatch, error)));
    }
}

/// Dropping a request closes it. What a handler left in its context is dropped too, and may panic.
fn close<T>(request: T) {
    shielded("closing a request", || drop(request));
}

/// Runs what must not bring the server down. A panic is logged, and `None` returned.
pub(super) fn shielded<T>(what: &str, run: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    let report = |payload: Box<dyn std::any::Any + Send>| {
        log::error!(target: "socketserver::server", "{what} {}", Panicked::new(&*payload));
    };
    result.map_err(report).ok()
}
