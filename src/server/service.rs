use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Hooks;
use crate::dispatch::Task;
use crate::error::{Panicked, RequestError, Stage};
use crate::handler::{RequestHandler, finish_request};
use crate::request::Request;

/// What becomes of an accepted request: the handlers and the hooks of one server.
pub(super) struct Service<R> {
    pub(super) hooks: Box<dyn Hooks<R>>,
    /// Drives one handler from `setup` to `finish`. The handler's type ends here, so that servers
    /// can be named.
    finish_request: Box<dyn Fn(&mut R, &Report<'_, R>) + Send + Sync>,
}

type Report<'a, R> = dyn Fn(&mut R, RequestError) + 'a;

impl<R: Request> Service<R> {
    pub(super) fn new<F, H>(make_handler: F, hooks: Box<dyn Hooks<R>>) -> Arc<Self>
    where
        F: Fn() -> H + Send + Sync + 'static,
        H: RequestHandler<R>,
    {
        let finish_request = move |request: &mut R, report: &Report<'_, R>| {
            finish_request(&make_handler, request, report);
        };
        Arc::new(Service {
            hooks,
            finish_request: Box::new(finish_request),
        })
    }

    /// Shuts a request down that is not to be handled, after sending what a hook wrote to it.
    pub(super) fn refuse(&self, mut request: R, error: Option<RequestError>) {
        if let Some(error) = error {
            self.handle_error(&mut request, error);
        }
        if let Err(error) = request.end() {
            self.handle_error(&mut request, RequestError::new(Stage::Verify, error));
        }
        self.close_request(request);
    }

    fn handle_error(&self, request: &mut R, error: RequestError) {
        shielded("handle_error", || self.hooks.handle_error(request, &error));
    }

    /// Dropping it closes it. What a handler left in the context is dropped too, and may panic.
    fn close_request(&self, request: R) {
        shielded("closing a request", || drop(request));
    }
}

/// One request on its way to its handler.
pub(super) struct Work<R> {
    request: R,
    service: Arc<Service<R>>,
}

impl<R: Request> Work<R> {
    pub(super) fn new(request: R, service: Arc<Service<R>>) -> Self {
        Work { request, service }
    }
}

impl<R: Request> Task for Work<R> {
    fn run(self: Box<Self>) {
        let Work {
            mut request,
            service,
        } = *self;
        (service.finish_request)(&mut request, &|request, error| {
            service.handle_error(request, error)
        });
        service.close_request(request);
    }

    fn refuse(self: Box<Self>, error: io::Error) {
        let Work { request, service } = *self;
        service.refuse(request, Some(RequestError::new(Stage::Dispatch, error)));
    }
}

/// Runs what must not bring the server down. A panic is logged, and `None` returned.
pub(super) fn shielded<T>(what: &str, run: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    let report = |payload: Box<dyn std::any::Any + Send>| {
        log::error!(target: "socketserver::server", "{what} {}", Panicked::new(&*payload));
    };
    result.map_err(report).ok()
}
