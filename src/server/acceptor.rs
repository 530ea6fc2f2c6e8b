//! The accept loop: accept → verify → dispatch. What follows, handle → close, is in `service.rs`.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::Server;
use super::request_log::SaturationLog;
use super::service::Accepted;
use crate::ServerHandle;
use crate::dispatch::{Dispatch, Job, Waker};
use crate::error::catch_and_log;
use crate::handle::{Control, ListenState, Serving};
use crate::listener::Listener;
use crate::request::{Lifecycle, Request};
use crate::statistics::Cause;
use crate::sync::MutexGuard;
use crate::sys::Events;

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Serves requests until [`shutdown`](crate::ServerHandle::shutdown). Python's `serve_forever`.
    ///
    /// Blocks, and uses no processor time while there is nothing to do. A shutdown ends it at once.
    /// Requests on other threads may still run when it returns: closing the server waits for them.
    ///
    /// # Errors
    ///
    /// - `ResourceBusy`: another thread serves already.
    /// - `NotConnected`: the server was made with [`unbound`](super::Builder::unbound), and is not bound
    ///   and activated yet.
    /// - What [`service_actions`](super::Hooks::service_actions) returns.
    /// - An accept error that does not pass; [`Listener::accept`] lists them.
    #[doc(alias("run", "accept loop"))]
    pub fn serve_forever(&self) -> io::Result<()> {
        let mut acceptor = Acceptor::begin(self)?;
        log::info!(target: "socketserver::server", "serving on {}", self.server_address());
        while !self.handle.is_shutdown_begun() {
            let next_actions = self.poll_interval.and_then(after);
            if let Some(request) = acceptor.get_request(next_actions)? {
                self.process_request(request);
            }
            if self.poll_interval.is_some() {
                let actions = || self.service.hooks.service_actions(&self.handle);
                catch_and_log("service_actions", actions).unwrap_or(Ok(()))?;
            }
        }
        log::info!(target: "socketserver::server", "stopped serving on {}", self.server_address());
        Ok(())
    }

    /// Waits for one request and passes it to its handler. Python's `handle_request`.
    ///
    /// Blocks until there is a request, at most for [`timeout`](super::Builder::timeout); after that it
    /// calls [`handle_timeout`](super::Hooks::handle_timeout). Without threads it also blocks until the
    /// handler has ended. After a shutdown it returns at once.
    ///
    /// # Errors
    ///
    /// Those of [`serve_forever`](Self::serve_forever), except that `service_actions` is not called.
    pub fn handle_request(&self) -> io::Result<()> {
        let deadline = self.timeout.and_then(after);
        let mut acceptor = Acceptor::begin(self)?;
        match acceptor.get_request(deadline)? {
            Some(request) => self.process_request(request),
            None if self.handle.is_shutdown_begun() => {}
            None => {
                let timed_out = || self.service.hooks.handle_timeout(&self.handle);
                catch_and_log("handle_timeout", timed_out);
            }
        }
        Ok(())
    }

    fn process_request(&self, mut request: Accepted<L::Request>) {
        match request.verify() {
            Ok(true) => {
                let job = Job::new(request);
                catch_and_log("dispatch", || self.dispatch.dispatch(job));
            }
            Ok(false) => request.refuse(None, Cause::Refused),
            Err(error) => request.refuse(Some(error), Cause::Refused),
        }
    }
}

/// `None` for a time that is too far away to be represented.
fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

/// What a server keeps between two turns of its accept loop. Locked by the thread that serves.
pub(super) struct AcceptState<R: Request> {
    /// Accepted requests that wait for capacity, each with the end of its time.
    pub(super) pending: VecDeque<(Instant, Accepted<R>)>,
    pub(super) saturation: SaturationLog,
    listen: ListenState,
    backoff: Backoff,
}

impl<R: Request> Default for AcceptState<R> {
    fn default() -> Self {
        AcceptState {
            pending: VecDeque::new(),
            saturation: SaturationLog::default(),
            listen: ListenState::default(),
            backoff: Backoff::default(),
        }
    }
}

/// The thread that serves: accepts requests, and waits for them and for capacity.
pub(super) struct Acceptor<'a, L: Listener, D: Dispatch> {
    pub(super) server: &'a Server<L, D>,
    pub(super) handle: &'a ServerHandle,
    pub(super) state: MutexGuard<'a, AcceptState<L::Request>>,
    pub(super) waker: Waker,
    events: Events,
    /// When to reap children.
    next_poll: Option<Instant>,
    _serving: Serving<'a>,
}

impl<'a, L: Listener, D: Dispatch> Acceptor<'a, L, D> {
    fn begin(server: &'a Server<L, D>) -> io::Result<Self> {
        let fail = |kind, what: &str| {
            let message = format!("the server on {} {what}", server.server_address());
            Err(io::Error::new(kind, message))
        };
        if !server.active {
            let what = "is not active: call server_bind and server_activate before serving";
            return fail(io::ErrorKind::NotConnected, what);
        }
        let Some(state) = server.accept_state.try_lock() else {
            return fail(
                io::ErrorKind::ResourceBusy,
                "is served by another thread already",
            );
        };
        let handle = &server.handle;
        if let Some(children) = handle.children().filter(|_| L::Request::OWNS_SOCKET) {
            children.set_listener(server.listener().as_fd().as_raw_fd());
        }
        Ok(Acceptor {
            server,
            handle,
            state,
            waker: Waker::new(handle),
            events: Events::with_capacity(NonZeroUsize::MIN),
            next_poll: None,
            _serving: handle.start_serving(),
        })
    }

    /// The next request that can be served now; `None` after the deadline, and when the server shuts
    /// down.
    ///
    /// Accepts first and waits only when there is no client: a busy server never calls the poller.
    fn get_request(
        &mut self,
        deadline: Option<Instant>,
    ) -> io::Result<Option<Accepted<L::Request>>> {
        while !self.handle.is_shutdown_begun() {
            let Control { limits, listen } = self.handle.control();
            self.reject_expired();
            let has_capacity = self.has_capacity(&limits);
            self.next_poll = self.handle.poll_children(!has_capacity);
            if has_capacity {
                if let Some(request) = self.pop_pending() {
                    return Ok(Some(request));
                }
            }
            let may_accept = has_capacity || self.may_accept_beyond_capacity(limits.overload);
            if !self.apply(listen) || self.state.backoff.is_pausing() || !may_accept {
                self.wait(false, deadline)?;
            } else {
                match self.ask_listener("accept", |listener| listener.accept(self.handle)) {
                    Ok(request) => {
                        self.state.backoff.reset();
                        if let Some(request) = self.admit(request, has_capacity, &limits) {
                            return Ok(Some(request));
                        }
                    }
                    Err(error) => self.recover(error, deadline)?,
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        Ok(None)
    }

    /// Pauses, stops listening or resumes, as the handle asks. Returns whether to accept.
    fn apply(&mut self, listen: ListenState) -> bool {
        if listen != self.state.listen {
            let address = self.handle.server_address();
            let applied = match (self.state.listen, listen) {
                (_, ListenState::Closed) => {
                    self.ask_listener("server_deactivate", L::server_deactivate)
                }
                (ListenState::Closed, _) => {
                    self.ask_listener("server_reactivate", L::server_reactivate)
                }
                _ => Ok(()),
            };
            match applied {
                Ok(()) => {
                    log::info!(target: "socketserver::server", "{address}: {}", listen.describe());
                    self.state.listen = listen;
                }
                Err(error) if listen == ListenState::Closed => {
                    log::warn!(target: "socketserver::server", "{address}: paused; new clients wait, because they cannot be refused: {error}");
                    self.state.listen = listen;
                }
                Err(error) => self.state.backoff.pause(&error, address),
            }
        }
        self.state.listen == ListenState::Open
    }

    /// A listener of the user's own may panic.
    fn ask_listener<T>(&self, what: &str, ask: impl Fn(&L) -> io::Result<T>) -> io::Result<T> {
        let panicked = || Err(io::Error::other("the listener panicked"));
        catch_and_log(what, || ask(self.server.listener())).unwrap_or_else(panicked)
    }

    /// After an accept error: waits, goes on, or gives up.
    fn recover(&mut self, error: io::Error, deadline: Option<Instant>) -> io::Result<()> {
        let address = self.handle.server_address();
        match Reaction::to(&error) {
            Reaction::Wait => {
                self.state.backoff.all_accepted(address);
                return self.wait(true, deadline);
            }
            Reaction::Retry if self.state.backoff.may_retry() => {
                log::debug!(target: "socketserver::server", "lost a client before it was accepted: {error}");
            }
            Reaction::Retry | Reaction::BackOff => self.state.backoff.pause(&error, address),
            Reaction::Stop => return Err(error),
        }
        Ok(())
    }

    /// Waits for a notification, for a client if `for_clients`, or until something is due.
    fn wait(&mut self, for_clients: bool, deadline: Option<Instant>) -> io::Result<()> {
        let next_expiry = self.state.pending.front().map(|(until, _)| *until);
        let due = [
            deadline,
            self.state.backoff.until,
            self.next_poll,
            next_expiry,
        ];
        let due = due.into_iter().flatten().min();
        let listener = for_clients.then(|| self.server.listener().as_fd());
        self.handle.poller().wait(listener, due, &mut self.events)
    }
}

/// Requests in the pending queue do not wait for a server that does not come back.
impl<L: Listener, D: Dispatch> Drop for Acceptor<'_, L, D> {
    fn drop(&mut self) {
        if self.handle.is_shutdown_begun() {
            self.server.reject_pending(&mut self.state);
        }
    }
}

/// What the accept loop does after an error of `Listener::accept`, which documents it.
enum Reaction {
    Wait,
    Retry,
    BackOff,
    Stop,
}

impl Reaction {
    fn to(error: &io::Error) -> Self {
        use io::ErrorKind::*;
        const EBADF: i32 = 9;
        const EFAULT: i32 = 14;
        const ENOTSOCK: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
            88
        } else {
            38
        };
        match (error.kind(), error.raw_os_error()) {
            (WouldBlock, _) => Reaction::Wait,
            // One client's error. accept(2) also returns network errors that are pending on the new
            // socket, and says to retry after them.
            (
                Interrupted | ConnectionAborted | ConnectionReset | ConnectionRefused
                | PermissionDenied | TimedOut | NetworkDown | NetworkUnreachable | HostUnreachable,
                _,
            ) => Reaction::Retry,
            (InvalidInput | Unsupported, _) | (_, Some(EBADF | EFAULT | ENOTSOCK)) => {
                Reaction::Stop
            }
            _ => Reaction::BackOff,
        }
    }
}

/// The pauses after accept errors, each twice as long as the one before until a client is accepted.
#[derive(Default)]
struct Backoff {
    until: Option<Instant>,
    last: Option<Duration>,
    retries: u32,
    warned_at: Option<Instant>,
    has_failed: bool,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    fn is_pausing(&mut self) -> bool {
        self.until = self.until.filter(|until| Instant::now() < *until);
        self.until.is_some()
    }

    /// Whether to retry at once. An error that comes again and again is not one client's.
    fn may_retry(&mut self) -> bool {
        const MAX_RETRIES: u32 = 1000;
        self.retries += 1;
        self.retries <= MAX_RETRIES
    }

    /// Pauses, and logs one line per second at most.
    fn pause(&mut self, error: &io::Error, server: &crate::Address) {
        if self
            .warned_at
            .is_none_or(|at| at.elapsed() >= Self::LONGEST)
        {
            self.warned_at = Some(Instant::now());
            self.has_failed = true;
            log::warn!(
                target: "socketserver::server",
                "cannot accept on {server}: {error}; trying again at least every {:?}", Self::LONGEST
            );
        }
        let pause = self.last.map_or(Self::SHORTEST, |last| last * 2);
        let pause = *self.last.insert(pause.min(Self::LONGEST));
        self.until = Some(Instant::now() + pause);
    }

    fn reset(&mut self) {
        (self.last, self.retries) = (None, 0);
    }

    fn all_accepted(&mut self, server: &crate::Address) {
        self.reset();
        if std::mem::take(&mut self.has_failed) {
            log::info!(target: "socketserver::server", "accepting again on {server}");
        }
    }
}
