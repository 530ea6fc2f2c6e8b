//! The accept loop: accept → verify → dispatch. `service.rs` has the rest: handle → close.
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Instant;

use super::Server;
use super::backoff::Backoff;
use super::request_log::SaturationLog;
use super::service::Accepted;
use crate::dispatch::{Dispatch, Job, Waker};
use crate::error::{SystemError, catch_and_log};
use crate::handle::{Control, ListenState, Serving};
use crate::listener::{AcceptError, Listener};
use crate::log_line::log_line;
use crate::request::{Lifecycle, Request};
use crate::statistics::Cause;
use crate::sync::MutexGuard;
use crate::{ServerHandle, restart};

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Serves requests until [`shutdown`](crate::ServerHandle::shutdown). Python's `serve_forever`.
    ///
    /// Blocks. A shutdown ends it at once; requests on other threads may still run then, and closing the
    /// server waits for them. After [`stop_serving`](crate::ServerHandle::stop_serving) it can be called
    /// again.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if another thread serves; `NotConnected` for an
    /// [`unbound`](super::Builder::unbound) server that is not activated; the error of
    /// [`ServerHandle::fail`](crate::ServerHandle::fail); what the hooks
    /// [`service_actions`](super::Hooks::service_actions) and
    /// [`handle_interrupt`](super::Hooks::handle_interrupt) return; an error of the listening socket.
    #[doc(alias("run", "accept loop"))]
    pub fn serve_forever(&self) -> io::Result<()> {
        let mut acceptor = Acceptor::begin(self)?;
        log_line!(target: "socketserver::server", Info, "serving on {}", self.handle.log_name());
        while !self.handle.must_stop() {
            let next_actions = self
                .poll_interval
                .and_then(|time| Instant::now().checked_add(time));
            if let Some(request) = acceptor.get_request(next_actions)? {
                self.process_request(request);
            }
            if let Some(hooks) = &self.service.hooks {
                let actions = || hooks.service_actions(&self.handle);
                catch_and_log("service_actions", actions).unwrap_or(Ok(()))?;
            }
        }
        log_line!(target: "socketserver::server", Info, "stopped serving on {}", self.handle.log_name());
        acceptor.serving.end()
    }

    /// Waits for one request and passes it to its handler. Python's `handle_request`.
    ///
    /// Blocks until there is a request (without threads: until it has ended), at most for
    /// [`timeout`](super::Builder::timeout), and then calls
    /// [`handle_timeout`](super::Hooks::handle_timeout). After a shutdown or
    /// [`stop_serving`](crate::ServerHandle::stop_serving) it returns at once.
    ///
    /// # Errors
    ///
    /// Those of [`serve_forever`](Self::serve_forever), except that `service_actions` is not called.
    pub fn handle_request(&self) -> io::Result<()> {
        let deadline = self
            .timeout
            .and_then(|time| Instant::now().checked_add(time));
        let mut acceptor = Acceptor::begin(self)?;
        match acceptor.get_request(deadline)? {
            Some(request) => self.process_request(request),
            None if self.handle.must_stop() => {}
            None => {
                if let Some(hooks) = &self.service.hooks {
                    catch_and_log("handle_timeout", || hooks.handle_timeout(&self.handle));
                }
            }
        }
        acceptor.serving.end_single()
    }

    fn process_request(&self, mut request: Box<Accepted<L::Request>>) {
        match request.verify() {
            Ok(true) => {
                catch_and_log("dispatch", || self.dispatch.dispatch(Job::new(request)));
            }
            Ok(false) => request.refuse(None, Cause::Refused),
            Err(error) => request.refuse(Some(error), Cause::Refused),
        }
    }
}

/// What a server keeps between two turns of its accept loop. Locked by the thread that serves.
pub(super) struct AcceptState<R: Request> {
    /// Accepted requests that wait for capacity, each with the end of its time.
    pub(super) pending: VecDeque<(Instant, Box<Accepted<R>>)>,
    pub(super) saturation: SaturationLog,
    pub(super) listen: ListenState,
    pub(super) backoff: Backoff,
}

/// The thread that serves: accepts requests, and waits for them.
pub(super) struct Acceptor<'a, L: Listener, D: Dispatch> {
    pub(super) server: &'a Server<L, D>,
    pub(super) handle: &'a ServerHandle,
    listener: &'a L,
    pub(super) state: MutexGuard<'a, AcceptState<L::Request>>,
    pub(super) waker: Waker,
    control: Control,
    next_reap: Option<Instant>,
    /// Dropped last: who waits for its end may serve at once.
    serving: Serving<'a>,
}

impl<'a, L: Listener, D: Dispatch> Acceptor<'a, L, D> {
    fn begin(server: &'a Server<L, D>) -> io::Result<Self> {
        use io::ErrorKind::{NotConnected, ResourceBusy};
        let fail = |kind, what| {
            let name = server.handle.log_name();
            io::Error::new(kind, format!("the server {name} {what}"))
        };
        if !server.active {
            let what = "is not active: call server_bind and server_activate before serving";
            return Err(fail(NotConnected, what));
        }
        let state = server.accept_state.try_lock();
        let state = state.ok_or_else(|| fail(ResourceBusy, "is served already"))?;
        let (handle, listener) = (&server.handle, server.listener());
        if let Some(children) = handle.children().filter(|_| L::Request::OWNS_SOCKET) {
            children.set_listener(listener.as_fd().as_raw_fd());
        }
        let acceptor = Acceptor {
            server,
            handle,
            listener,
            state,
            waker: Waker::new(handle),
            control: handle.control(),
            next_reap: None,
            serving: handle.start_serving(),
        };
        if !handle.must_stop() && !handle.is_shutting_down() {
            restart::serves();
        }
        #[cfg(feature = "systemd")]
        crate::systemd::serving_begun();
        Ok(acceptor)
    }

    /// The next request that can be served now; `None` after the deadline, and when serving ends. Waits only
    /// if no client is pending: a busy server never calls the poller.
    fn get_request(
        &mut self,
        deadline: Option<Instant>,
    ) -> io::Result<Option<Box<Accepted<L::Request>>>> {
        while !self.handle.must_stop() {
            #[cfg(feature = "systemd")]
            self.handle.set_turned();
            self.handle_interrupt()?;
            self.handle.refresh(&mut self.control);
            let Control { limits, listen, .. } = self.control;
            self.reject_expired();
            let has_capacity = self.has_capacity(&limits);
            self.next_reap = self.handle.poll_children(!has_capacity);
            if has_capacity && !self.state.pending.is_empty() {
                match self.pop_pending() {
                    Some(request) => return Ok(Some(request)),
                    // Another server of the group was faster.
                    None => continue,
                }
            }
            let may_accept = has_capacity || self.may_accept_beyond_capacity(limits.overload);
            let is_pausing = self.state.backoff.is_pausing(); // Forgets a pause that is over.
            let accepts = self.apply(listen) && !is_pausing && may_accept;
            match accepts.then(|| self.accept(has_capacity)) {
                None => self.wait(false, deadline)?,
                Some(Err(error)) => self.recover(error, deadline)?,
                Some(Ok(Some(request))) => return Ok(Some(request)),
                Some(Ok(None)) => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        Ok(None)
    }

    /// Accepts and counts one request. `None` if it is queued, rejected or refused.
    fn accept(&mut self, has_capacity: bool) -> io::Result<Option<Box<Accepted<L::Request>>>> {
        let accept = || {
            let request = self.listener.accept(self.handle)?;
            // The client may have come after a change of the limits.
            self.handle.refresh(&mut self.control);
            let limits = self.control.limits;
            let admitted = self.admit(request, has_capacity, &limits);
            self.state.backoff.reset();
            Ok(admitted)
        };
        catch_as_io_error("accept", accept)
    }

    /// Pauses, stops listening or resumes as the handle calls. Returns whether to accept.
    fn apply(&mut self, listen: ListenState) -> bool {
        use ListenState::{Closed, Open};
        if listen != Open && restart::shares_sockets() {
            // What is done to the socket would be done to that of the other process.
            return false;
        }
        if listen == self.state.listen {
            return listen == Open;
        }
        let name = self.handle.log_name();
        let listener = self.listener;
        let applied = match (self.state.listen, listen) {
            (_, Closed) => catch_as_io_error("server_deactivate", || listener.server_deactivate()),
            (Closed, _) => catch_as_io_error("server_reactivate", || listener.server_reactivate()),
            _ => Ok(()),
        };
        match applied {
            Ok(()) => {
                log_line!(target: "socketserver::server", Info, "{name}: {}", listen.describe())
            }
            Err(error) if listen == Closed => {
                log_line!(target: "socketserver::server", Warn, "{name}: paused; new clients wait, because they cannot be refused: {error}");
            }
            Err(error) => {
                self.state.backoff.pause(&error, &name);
                return false;
            }
        }
        self.state.listen = listen;
        listen == Open
    }

    /// After an accept error: backs off, continues, or ends serving.
    fn recover(&mut self, error: io::Error, deadline: Option<Instant>) -> io::Result<()> {
        let name = self.handle.log_name();
        if error.kind() == io::ErrorKind::WouldBlock {
            self.state.backoff.all_accepted(&name);
            // At once. A yield before it saves a part of the waits, but programs that keep the processors busy run first
            // then, and a client waits for milliseconds.
            return self.wait(true, deadline);
        }
        match AcceptError::of(&error) {
            AcceptError::Client if self.state.backoff.may_retry() => {
                log_line!(target: "socketserver::server", Debug, "lost a client before it was accepted: {error}");
            }
            AcceptError::Client => self.state.backoff.pause(&error, &name),
            AcceptError::System => {
                if AcceptError::is_out_of_descriptors(&error) {
                    self.handle.lingering().close_all();
                }
                self.state.backoff.pause(&error, &name);
            }
            AcceptError::Listener => return Err(error),
        }
        Ok(())
    }

    /// Waits for a notification, for a client if `for_clients`, or until something is due.
    fn wait(&self, for_clients: bool, deadline: Option<Instant>) -> io::Result<()> {
        let next_expiry = self.state.pending.front().map(|(until, _)| *until);
        let pause_end = self.state.backoff.until;
        let due = [deadline, pause_end, self.next_reap, next_expiry];
        let due = due.into_iter().flatten().min();
        let listener = for_clients.then(|| self.listener.as_fd());
        let poller = self.handle.poller();
        let waited = match self.server.service.hooks {
            Some(_) => poller.wait_or_interrupt(listener, due),
            None => poller.wait(listener, due),
        };
        match waited {
            // A hook runs before the next wait.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(AcceptError::of(&error), AcceptError::System) => {
                // The system has no memory for the call at the moment.
                thread::sleep(Backoff::LONGEST);
                Ok(())
            }
            Err(error) => {
                let name = self.handle.log_name();
                let text = format!("cannot wait for clients on {name}: {error}");
                Err(SystemError::describe(&error, text))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Lets the program act on a signal.
    fn handle_interrupt(&self) -> io::Result<()> {
        let Some(hooks) = &self.server.service.hooks else {
            return Ok(());
        };
        let interrupted = || hooks.handle_interrupt(self.handle);
        catch_and_log("handle_interrupt", interrupted).unwrap_or(Ok(()))
    }
}

/// Requests in the pending queue do not wait for a server that has ended.
impl<L: Listener, D: Dispatch> Drop for Acceptor<'_, L, D> {
    fn drop(&mut self) {
        if let Some(group) = self.handle.group() {
            group.forget(&self.waker);
        }
        if let Some(error) = self.serving.take_unreported() {
            let name = self.handle.log_name();
            log_line!(target: "socketserver::server", Warn, "{name}: another error ended serving before this one: {error}");
        }
        if self.handle.is_shutdown_begun() {
            self.server.reject_pending(&mut self.state);
        }
    }
}

/// A panic is logged, and returned as an error.
fn catch_as_io_error<T>(what: &str, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let panicked = || Err(io::Error::other(format!("{what} panicked")));
    catch_and_log(what, call).unwrap_or_else(panicked)
}
