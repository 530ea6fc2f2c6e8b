use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Hooks;
use super::request_log::{log_begin, log_end, log_panic};
use crate::dispatch::{Subject, Work};
use crate::error::{HandlerResult, RequestError, Stage, catch, catch_as_error, catch_silently};
use crate::handle::{Permit, RunningHere};
use crate::handler::{Report, RequestHandler, run_handler};
use crate::request::Request;
use crate::statistics::{Cause, Outcome, RequestEnd, RequestState};

/// The hooks and the handlers of one server.
pub(super) struct Service<R> {
    pub(super) hooks: Option<Box<dyn Hooks<R>>>,
    /// Runs one handler from `setup` to `finish`. The handler's type is known here only, so that the
    /// server's type does not contain it.
    pub(super) run_handler: Box<HandlerFn<R>>,
}

pub(super) type HandlerFn<R> = dyn Fn(&mut R, &Report<'_, R>) + Send + Sync;

/// A new handler for each request.
pub(super) fn from_factory<R, F, H>(make_handler: F) -> Box<HandlerFn<R>>
where
    R: Request,
    F: Fn() -> H + Send + Sync + 'static,
    H: RequestHandler<R>,
{
    Box::new(move |request, report| run_handler(&make_handler, request, report))
}

/// One closure for all requests.
pub(super) fn from_closure<R, F>(handle: F) -> Box<HandlerFn<R>>
where
    R: Request,
    F: Fn(&mut R) -> HandlerResult + Send + Sync + 'static,
{
    Box::new(move |request, report| {
        run_handler(|| |request: &mut R| handle(request), request, report)
    })
}

impl<R: Request> Service<R> {
    /// Reports an error, and returns how it counts.
    pub(super) fn handle_error(&self, request: &mut R, mut error: RequestError) -> Outcome {
        // The sources of a handler's own error are found by its code.
        let outcome = catch_silently(|| outcome(request, &error)).unwrap_or(Outcome::Failed);
        error.set_disconnect(outcome == Outcome::Disconnected);
        let handled = catch(|| match &self.hooks {
            Some(hooks) => hooks.handle_error(request, &error),
            None => error.log(request),
        });
        let dropped = catch(|| drop(error));
        for panicked in [handled, dropped].into_iter().filter_map(Result::err) {
            log_panic(request, "handle_error", &panicked);
        }
        outcome
    }
}

/// A request with its permit, from accept to close. Dropping it closes the request, and this is the only
/// place where a request is closed. Boxed from the beginning, because it is large and passes through many functions.
pub(super) struct Accepted<R: Request> {
    /// `None` once it is closed, or left to a child.
    pub(super) request: Option<R>,
    pub(super) permit: Permit,
    /// While a thread runs it. Dropped before the service, whose drop may run code of the user's.
    here: Option<RunningHere>,
    service: Arc<Service<R>>,
}

impl<R: Request> Accepted<R> {
    /// How long a rejection may take.
    const REJECT_TIMEOUT: Duration = Duration::from_secs(1);

    /// `ip` is the client's address and the limit of requests per address, if there is one.
    pub(super) fn new(
        request: R,
        service: Arc<Service<R>>,
        ip: Option<(IpAddr, usize)>,
        state: RequestState,
    ) -> Box<Self> {
        let name = (request.id(), request.client_address().clone());
        let connection = request.connection_entry();
        let permit = Permit::new(request.server(), name, connection, ip, state);
        log_begin(&permit);
        Box::new(Accepted {
            request: Some(request),
            permit,
            here: None,
            service,
        })
    }

    pub(super) fn state(&self) -> RequestState {
        self.permit.state()
    }

    pub(super) fn set_state(&mut self, state: RequestState) {
        self.permit.set_state(state);
    }

    /// Whether the client's address is known only after its PROXY header.
    pub(super) fn awaits_proxy_header(&self) -> bool {
        let options = self.permit.server().stream_options();
        options.proxy_protocol.is_some()
    }

    /// Whether to serve the request.
    pub(super) fn verify(&mut self) -> Result<bool, RequestError> {
        if self.service.hooks.is_none() || self.awaits_proxy_header() {
            return Ok(true);
        }
        let _here = self.permit.run_here();
        self.call_verify_request()
    }

    pub(super) fn call_verify_request(&mut self) -> Result<bool, RequestError> {
        let (request, _, service) = self.parts();
        match &service.hooks {
            Some(hooks) => catch_as_error(Stage::Verify, || hooks.verify_request(request)),
            None => Ok(true),
        }
    }

    /// Runs the handler from `setup` to `finish`.
    fn handle(&mut self) {
        let (request, permit, service) = self.parts();
        permit.begin();
        let permit = RefCell::new(permit);
        (service.run_handler)(request, &|request, error| {
            let outcome = service.handle_error(request, error);
            permit.borrow_mut().record(outcome);
        });
    }

    /// Closes a request that is not handled, after sending the bytes that a hook has written to it.
    pub(super) fn refuse(mut self: Box<Self>, error: Option<RequestError>, cause: Cause) {
        self.here = Some(self.permit.run_here());
        self.end_refused(error, cause);
        drop(self);
    }

    pub(super) fn end_refused(&mut self, error: Option<RequestError>, cause: Cause) {
        let (request, permit, service) = self.parts();
        permit.refuse(cause);
        if let Some(error) = error {
            service.handle_error(request, error);
        }
        if let Err(error) = request.end() {
            service.handle_error(request, RequestError::new(Stage::Verify, error));
        }
    }

    /// Runs the hook for rejected requests.
    pub(super) fn reject(&mut self, why: crate::RejectReason) {
        let server = self.permit.server();
        if server.has_tls() {
            // Without a handshake the client could not read why, and handshakes would cost what the limit saves.
            return;
        }
        let may_use_timer = server.children().is_none();
        let (request, _, service) = self.parts();
        let rejected = catch_as_error(Stage::Reject, || {
            request.begin_rejection(Self::REJECT_TIMEOUT, may_use_timer)?;
            if let Some(hooks) = &service.hooks {
                hooks.reject_request(request, why)?;
            }
            Ok(request.end()?)
        });
        if let Err(error) = rejected {
            service.handle_error(request, error);
        }
    }

    pub(super) fn parts(&mut self) -> (&mut R, &mut Permit, &Service<R>) {
        let request = self.request.as_mut();
        let request = request.expect("the request is there until it is closed");
        (request, &mut self.permit, &self.service)
    }

    pub(super) fn close(&mut self) {
        self.request = None;
    }
}

impl<R: Request> Drop for Accepted<R> {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            log_end(&self.permit, request);
            self.close();
        }
    }
}

impl<R: Request> Work for Accepted<R> {
    fn run(mut self: Box<Self>) -> bool {
        self.here = Some(self.permit.run_here());
        match self.state() {
            RequestState::Rejected(Cause::RejectReason(why)) => self.reject(why),
            _ if self.awaits_proxy_header() && !self.admit_client() => {}
            _ => self.handle(),
        }
        let succeeded = self.permit.end() == RequestEnd::Handled(Outcome::Finished);
        drop(self);
        succeeded
    }

    fn refuse(self: Box<Self>, error: io::Error) {
        match self.state() {
            // There was no thread for the hook.
            RequestState::Rejected(_) => drop(self),
            _ => {
                let error = RequestError::new(Stage::Dispatch, error);
                Accepted::refuse(self, Some(error), Cause::Dispatch);
            }
        }
    }

    fn server_identity(&self) -> usize {
        self.permit.server().identity()
    }

    fn may_wait(&self) -> bool {
        R::OWNS_SOCKET
    }

    fn subject(&self) -> Subject<'_> {
        let request = self.request.as_ref();
        let request = request.expect("the request is there until it is closed");
        Subject {
            id: request.id(),
            client_address: request.client_address(),
            server: request.server(),
            extensions: request.extensions(),
        }
    }

    #[cfg(feature = "fork")]
    fn child_work(&mut self) -> &mut dyn crate::dispatch::child_table::ChildWork {
        self
    }
}

/// What an error of this request means. [`RequestError::is_disconnect`] states the rule.
fn outcome<R: Request>(request: &R, error: &RequestError) -> Outcome {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
    match error.io_kind() {
        _ if error.is_panic() => Outcome::Panicked,
        Some(TimedOut) => Outcome::TimedOut,
        Some(BrokenPipe | ConnectionReset | ConnectionAborted) => Outcome::Disconnected,
        _ if request.is_disconnect(error) => Outcome::Disconnected,
        _ => Outcome::Failed,
    }
}

/// A request that a forked process handles.
#[cfg(feature = "fork")]
mod in_child {
    use super::{Accepted, Outcome, Request};
    use crate::dispatch::child_table::ChildWork;
    use crate::log_line::log_line;
    use crate::sys::process::{self, ExitState, Pid};

    impl<R: Request> ChildWork for Accepted<R> {
        fn begin_in_child(&mut self) {
            let server = self.permit.server().clone();
            // The child does not wake the accept loop of the server.
            server.poller().close();
            self.permit.abandon_others();
            server.set_delay_timer();
            process::once_on_sigterm(move || server.shutdown());
        }

        /// Keeps the permit until the child has ended.
        fn leave_to(&mut self, child: Pid) {
            self.permit.begin();
            if let Some(request) = &mut self.request {
                request.abandon();
            }
            self.close();
            log_line!(target: "socketserver::dispatch", Debug, "{}: process {child}: started", self.permit.name());
        }

        fn child_ended(&mut self, child: Pid, exit: ExitState) {
            let server = self.permit.server().clone();
            let outcome = match exit {
                ExitState::Exited(0) => Outcome::Finished,
                ExitState::Killed(_) if server.is_forced() => Outcome::Disconnected,
                ExitState::Killed(_) => Outcome::Panicked,
                _ => Outcome::Failed,
            };
            self.permit.record(outcome);
            let suppressed = match outcome {
                Outcome::Panicked => server.log_limit().allow(),
                _ => None,
            };
            if let Some(suppressed) = suppressed {
                log_line!(
                    target: "socketserver::dispatch", Error,
                    "{}: process {child} {exit}{suppressed}", self.permit.name()
                );
            }
            log_line!(
                target: "socketserver::dispatch", Debug,
                "{}: process {child} {exit} after {:.3?}", self.permit.name(), self.permit.age()
            );
        }
    }
}
