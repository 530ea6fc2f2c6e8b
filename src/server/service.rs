use std::cell::RefCell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Hooks;
use super::arrival::Arrival;
#[cfg(feature = "fork")]
use super::away::Away;
use super::journal::log_panic;
use crate::dispatch::Task;
use crate::error::{HandlerResult, Panicked, RequestError, Stage};
use crate::handler::{RequestHandler, finish_request, guard};
use crate::limits::RejectReason;
use crate::registry::Place;
use crate::request::Request;
use crate::statistics::{Cause, Outcome};
#[cfg(feature = "fork")]
use crate::{
    dispatch::Remote,
    signals,
    sys::process::{self, Pid},
};

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
    /// Asks whether to handle a request.
    pub(super) fn verify(&self, arrival: &mut Arrival<R>) -> Result<bool, RequestError> {
        let _here = arrival.ticket.run_here();
        let request = &mut arrival.request;
        guard(Stage::Verify, || self.hooks.verify_request(request))
    }

    /// Handles a request and closes it.
    fn handle(&self, mut arrival: Arrival<R>) -> Outcome {
        let _here = arrival.ticket.run_here();
        let Arrival { request, ticket } = &mut arrival;
        ticket.begin();
        let ticket = RefCell::new(ticket);
        (self.finish_request)(request, &|request, error| {
            ticket.borrow_mut().note(outcome(&error));
            self.handle_error(request, error);
        });
        let outcome = arrival.ticket.outcome().unwrap_or(Outcome::Finished);
        arrival.log_end(&outcome);
        close(arrival.request.id(), arrival);
        outcome
    }

    /// Shuts a request down that is not to be handled, after sending what a hook wrote to it.
    pub(super) fn refuse(
        &self,
        mut arrival: Arrival<R>,
        error: Option<RequestError>,
        cause: Cause,
    ) {
        let _here = arrival.ticket.run_here();
        if let Some(error) = error {
            self.handle_error(&mut arrival.request, error);
        }
        if let Err(error) = arrival.request.end() {
            let error = RequestError::new(Stage::Verify, error);
            self.handle_error(&mut arrival.request, error);
        }
        arrival.log_end(&cause);
        let Arrival {
            request,
            mut ticket,
        } = arrival;
        close(request.id(), request);
        ticket.go(Place::Rejected(cause));
    }

    /// Tells a request that there is no room for it, and closes it.
    pub(super) fn reject(
        &self,
        mut arrival: Arrival<R>,
        why: RejectReason,
        within: Duration,
        alone: bool,
    ) {
        let _here = arrival.ticket.run_here();
        let request = &mut arrival.request;
        let told = guard(Stage::Reject, || {
            request.begin_rejection(within, alone)?;
            self.hooks.reject_request(request, why)?;
            Ok(request.end()?)
        });
        if let Err(error) = told {
            self.handle_error(request, error);
        }
        self.close_rejected(arrival, why);
    }

    pub(super) fn close_rejected(&self, arrival: Arrival<R>, why: RejectReason) {
        arrival.log_end(&Cause::RejectReason(why));
        close(arrival.request.id(), arrival);
    }

    fn handle_error(&self, request: &mut R, error: RequestError) {
        let handled = guard(error.stage(), || {
            self.hooks.handle_error(request, &error);
            // What a handler made may panic as it is dropped.
            drop(error);
            Ok(())
        });
        if let Err(panic) = handled {
            log_panic(request, "handle_error", panic.error());
        }
    }
}

fn outcome(error: &RequestError) -> Outcome {
    if error.is_panic() {
        Outcome::Panicked
    } else if error.io_kind() == Some(io::ErrorKind::TimedOut) {
        Outcome::TimedOut
    } else if error.is_disconnect() {
        Outcome::Disconnected
    } else {
        Outcome::Failed
    }
}

/// One request on its way to its handler; empty once it is there.
pub(super) struct Work<R: Request>(Option<(Arrival<R>, Arc<Service<R>>)>);

impl<R: Request> Work<R> {
    pub(super) fn new(arrival: Arrival<R>, service: Arc<Service<R>>) -> Self {
        Work(Some((arrival, service)))
    }

    fn unpack(&mut self) -> (Arrival<R>, Arc<Service<R>>) {
        self.0.take().expect("work is done once")
    }
}

impl<R: Request> Task for Work<R> {
    fn run(mut self: Box<Self>) {
        let (arrival, service) = self.unpack();
        service.handle(arrival);
    }

    fn refuse(mut self: Box<Self>, error: io::Error) {
        let (arrival, service) = self.unpack();
        let error = RequestError::new(Stage::Dispatch, error);
        service.refuse(arrival, Some(error), Cause::Dispatch);
    }

    #[cfg(feature = "fork")]
    fn run_as_child(mut self: Box<Self>) -> bool {
        let (arrival, service) = self.unpack();
        let server = arrival.ticket.server().clone();
        server.registry().let_go_of_others(arrival.request.id());
        signals::when_told(move || {
            process::ignore_sigterm();
            server.shutdown();
        });
        service.handle(arrival) == Outcome::Finished
    }

    #[cfg(feature = "fork")]
    fn leave_to(mut self: Box<Self>, child: Pid) -> Box<dyn Remote> {
        let (arrival, _) = self.unpack();
        Box::new(Away::new(arrival, child))
    }
}

/// A dispatcher that drops a job says nothing; the log does.
impl<R: Request> Drop for Work<R> {
    fn drop(&mut self) {
        if let Some((arrival, _)) = self.0.take() {
            arrival.log_end(&Cause::Dispatch);
            close(arrival.request.id(), arrival);
        }
    }
}

/// Dropping a request closes it. What a handler left in its context is dropped too, and may panic.
pub(super) fn close<T>(id: u64, request: T) {
    shielded(format_args!("closing request {id}"), || drop(request));
}

/// Runs what must not bring the server down. A panic is logged, and `None` returned.
pub(super) fn shielded<T>(what: impl fmt::Display, run: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    let report = |payload: Box<dyn std::any::Any + Send>| {
        log::error!(target: "socketserver::server", "{what} {}", Panicked::new(&*payload));
    };
    result.map_err(report).ok()
}
