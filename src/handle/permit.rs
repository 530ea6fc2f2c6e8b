use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::registry::{ConnectionEntry, RequestEntry};
use super::{GroupPermit, ServerHandle};
use crate::Address;
use crate::green;
use crate::limits::RejectReason;
use crate::log_line::log_line;
use crate::statistics::{Cause, Outcome, RequestEnd, RequestState};
use crate::sync::thread_local;

/// A request's presence in its server, from accept until the handler's part has ended: it counts, limits
/// and times the request. There is one for each request; it is created at accept, under one lock, and
/// gives everything back when it is dropped, under one lock.
pub(crate) struct Permit {
    server: ServerHandle,
    id: u64,
    client_address: Address,
    accepted_at: Instant,
    entry: RequestEntry,
    /// While it is active, if its server shares a limit of connections.
    group_permit: Option<GroupPermit>,
}

impl Permit {
    /// Counts a request that was just accepted. `ip` is the address that it counts for, and the limit of
    /// requests per address: above it, the state is `Rejected`.
    pub(crate) fn new(
        server: &ServerHandle,
        (id, client_address): (u64, Address),
        connection: Option<ConnectionEntry>,
        ip: Option<(IpAddr, usize)>,
        state: RequestState,
    ) -> Self {
        let registry = server.registry();
        let entry = registry.enter(connection, ip, state);
        // A shutdown sees the connection in the registry, or is seen here.
        if server.is_shutdown_begun() {
            registry.end_connection(&entry, server.is_forced());
        } else if server.is_retiring() {
            registry.retire_connection(&entry);
        }
        Permit {
            server: server.clone(),
            id,
            client_address,
            accepted_at: Instant::now(),
            entry,
            group_permit: None,
        }
    }

    pub(crate) fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// For a log line.
    pub(crate) fn name(&self) -> RequestName<'_> {
        RequestName {
            server: &self.server,
            id: self.id,
            client_address: &self.client_address,
        }
    }

    /// A PROXY header has named the client.
    pub(crate) fn set_client_address(&mut self, client_address: &Address) {
        if self.client_address == *client_address {
            return;
        }
        log_line!(target: "socketserver::server", Debug, "{}: the client is {client_address}", self.name());
        self.client_address = client_address.clone();
        green::set_client_address(&self.name());
    }

    /// Counts it for an IP address, of which it did not count so far. At the limit its state is `Rejected`
    /// afterwards, and this returns false.
    pub(crate) fn enter_ip(&mut self, ip: IpAddr, limit: usize) -> bool {
        let is_below = self.server.registry().enter_ip(&mut self.entry, ip, limit);
        if !is_below {
            let too_many = Cause::RejectReason(RejectReason::PerIp);
            self.set_state(RequestState::Rejected(too_many));
        }
        is_below
    }

    /// How long ago the request was accepted.
    pub(crate) fn age(&self) -> Duration {
        self.accepted_at.elapsed()
    }

    pub(crate) fn state(&self) -> RequestState {
        self.entry.state
    }

    pub(crate) fn set_state(&mut self, state: RequestState) {
        if self.server.registry().change(&mut self.entry, state) {
            self.server.poller().notify();
        }
    }

    /// It counts for the limit of its server's group too.
    #[inline]
    pub(crate) fn set_group_permit(&mut self, group_permit: Option<GroupPermit>) {
        self.group_permit = group_permit;
    }

    /// The handler begins.
    pub(crate) fn begin(&mut self) {
        self.entry.end = RequestEnd::Handled(Outcome::Finished);
    }

    /// Records an error of the handler. Of several, the most serious one counts.
    pub(crate) fn record(&mut self, outcome: Outcome) {
        if let RequestEnd::Handled(before) = &mut self.entry.end {
            *before = (*before).max(outcome);
        }
    }

    /// The request is not handled, for this cause.
    pub(crate) fn refuse(&mut self, cause: Cause) {
        self.entry.end = RequestEnd::NotHandled(cause);
    }

    /// How the request ends, if it ends now.
    pub(crate) fn end(&self) -> RequestEnd {
        match self.entry.state {
            RequestState::Rejected(cause) => RequestEnd::NotHandled(cause),
            _ => self.entry.end,
        }
    }

    /// Marks the calling thread as running this request, until the value is dropped.
    pub(crate) fn run_here(&self) -> RunningHere {
        with_running(|running| running.push(self.server.identity()));
        RunningHere
    }

    /// In a process that was forked for this request.
    #[cfg(feature = "fork")]
    pub(crate) fn abandon_others(&self) {
        self.server.registry().abandon_all_but(&self.entry);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // First: who sees in the statistics that the request has ended finds the group below its limit.
        self.group_permit = None;
        if self.server.registry().leave(&self.entry) {
            self.server.poller().notify();
        }
    }
}

impl ServerHandle {
    /// How many requests of this server the calling thread or task runs.
    pub(crate) fn running_here(&self) -> usize {
        let server = self.identity();
        let count = |running: &mut Vec<usize>| {
            let of_server = running.iter().filter(|other| **other == server);
            of_server.count()
        };
        with_running(count).unwrap_or(0)
    }

    /// A number that no other server has at the same time.
    pub(crate) fn identity(&self) -> usize {
        std::ptr::from_ref(self.registry()).addr()
    }
}

/// What log lines call a request. The name of the server is in front if other servers of the process count
/// their requests too.
pub(crate) struct RequestName<'a> {
    pub(crate) server: &'a ServerHandle,
    pub(crate) id: u64,
    pub(crate) client_address: &'a Address,
}

impl fmt::Display for RequestName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.is_one_of_several() {
            write!(f, "{}: ", self.server.log_name())?;
        }
        write!(f, "request {} from {}", self.id, self.client_address)
    }
}

thread_local! {
    /// The identities of the servers whose requests this thread runs. Several where a handler
    /// serves another server on its own thread.
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with the servers whose requests the calling thread or task runs. `None` while the thread ends: it
/// runs no request then.
fn with_running<R, F: FnOnce(&mut Vec<usize>) -> R>(f: F) -> Option<R> {
    let on_thread = |f: F| RUNNING.try_with(|running| f(&mut running.borrow_mut()));
    green::with_running_servers(f).map_or_else(|f| on_thread(f).ok(), Some)
}

/// The servers whose requests the calling thread or task runs.
pub(crate) fn running_servers() -> Vec<usize> {
    with_running(|running| running.clone()).unwrap_or_default()
}

/// The calling thread works for a task that runs requests of these servers. Returns those from before.
pub(crate) fn set_running_servers(servers: Vec<usize>) -> Vec<usize> {
    with_running(|running| mem::replace(running, servers)).unwrap_or_default()
}

pub(crate) struct RunningHere;

impl Drop for RunningHere {
    fn drop(&mut self) {
        with_running(Vec::pop);
    }
}
