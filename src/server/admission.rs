//! Whether one more request can be served now, and what becomes of it if not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Server;
use super::acceptor::{AcceptState, Acceptor};
use super::request_log::{Saturated, log_too_many, log_untrusted};
use super::service::Accepted;
use crate::ServerHandle;
use crate::dispatch::{Dispatch, Job, ThreadPool, Waker};
use crate::error::catch;
use crate::handle::{GroupPermit, GroupState};
use crate::limits::{Limits, OverloadPolicy, RejectReason};
use crate::listener::Listener;
use crate::log_line::log_line;
use crate::request::{Lifecycle, Request};
use crate::statistics::{Cause, RequestState};

impl<L: Listener, D: Dispatch> Acceptor<'_, L, D> {
    /// Whether one more request may be active. If not, the poller is notified when that changes.
    pub(super) fn has_capacity(&mut self, limits: &Limits) -> bool {
        let has_permits = |limit| self.handle.registry().has_capacity(limit);
        let saturated = match limits.max_connections.map(|limit| limit.max(1)) {
            Some(limit) if !has_permits(limit) => Saturated::Connections(limit),
            _ if !self.dispatcher_has_capacity() => Saturated::Dispatch,
            _ => match self.group_has_capacity() {
                Ok(()) => return true,
                Err(limit) => Saturated::Group(limit),
            },
        };
        let saturation = &mut self.state.saturation;
        saturation.log(self.handle, saturated, limits.overload);
        false
    }

    fn dispatcher_has_capacity(&self) -> bool {
        catch(|| self.server.dispatch.has_capacity(&self.waker)).unwrap_or_else(|panicked| {
            if let Some(suppressed) = self.handle.log_limit().allow() {
                let name = self.handle.log_name();
                log_line!(target: "socketserver::server", Error, "{name}: has_capacity {panicked}{suppressed}");
            }
            // As if it were not implemented. Nobody would wake the server that waits for capacity.
            true
        })
    }

    /// The limit of connections of the server's group is an error if it is reached.
    fn group_has_capacity(&self) -> Result<(), usize> {
        self.group()
            .map_or(Ok(()), |group| group.has_capacity(&self.waker))
    }

    /// The group whose limit applies. Datagrams are not limited.
    fn group(&self) -> Option<&Arc<GroupState>> {
        self.handle.group().filter(|_| L::Request::OWNS_SOCKET)
    }

    /// Whether the group permits one more connection, and its permit. Other servers of the group acquire
    /// permits at the same time.
    fn acquire(&self) -> Option<Option<GroupPermit>> {
        match self.group() {
            Some(group) => group.acquire(&self.waker).map(Some),
            None => Some(None),
        }
    }

    /// Whether to accept a client that cannot be served now.
    pub(super) fn may_accept_beyond_capacity(&self, policy: OverloadPolicy) -> bool {
        match policy {
            OverloadPolicy::Wait => false,
            OverloadPolicy::Queue { length, .. } => {
                self.state.pending.len() < length && self.can_reject()
            }
            OverloadPolicy::Reject => self.can_reject(),
        }
    }

    /// Requests in the queue may have to be rejected too.
    fn can_reject(&self) -> bool {
        self.server.reject_pool.has_capacity(&self.waker)
    }

    /// Counts a request that was accepted. Returns it if it can be served now; otherwise it is queued or
    /// rejected.
    pub(super) fn admit(
        &mut self,
        request: L::Request,
        has_capacity: bool,
        limits: &Limits,
    ) -> Option<Box<Accepted<L::Request>>> {
        let proxies = self.handle.stream_options().proxy_protocol.as_ref();
        if proxies.is_some_and(|proxies| !proxies.is_trusted(request.client_address())) {
            self.refuse_untrusted(request);
            return None;
        }
        let overload = Cause::RejectReason(RejectReason::Overload);
        let mut permit = if has_capacity { self.acquire() } else { None };
        let is_queued = matches!(limits.overload, OverloadPolicy::Queue { .. });
        // A request may have ended since the last check.
        if permit.is_none() && !is_queued && self.has_capacity(limits) {
            permit = self.acquire();
        }
        let (state, until) = match limits.overload {
            _ if permit.is_some() => (RequestState::Active, None),
            OverloadPolicy::Queue { timeout, .. } => (RequestState::Queued, Some(expiry(timeout))),
            OverloadPolicy::Reject => (RequestState::Rejected(overload), None),
            // Another server of the group has accepted a client at the same time.
            OverloadPolicy::Wait => (RequestState::Queued, Some(expiry(Duration::MAX))),
        };
        let mut ip = None;
        if limits.max_per_ip.is_some() && proxies.is_none() {
            ip = limits.counted_ip(request.client_address());
            // Children that have ended count until they are reaped.
            if ip.is_some_and(|(ip, limit)| self.handle.registry().count_of(ip) >= limit) {
                self.handle.poll_children(true);
            }
        }
        let service = Arc::clone(&self.server.service);
        let mut accepted = Accepted::new(request, service, ip, state);
        match (accepted.state(), until) {
            (RequestState::Active, _) => {
                accepted.permit.set_group_permit(permit.flatten());
                return Some(accepted);
            }
            (RequestState::Queued, Some(until)) => self.state.pending.push_back((until, accepted)),
            _ if accepted.state() == state => self.server.reject_pool.reject(accepted),
            // Too many of one IP address. If too many rejections wait already, its turn would delay the
            // accept loop.
            _ => {
                log_too_many(&accepted.permit, limits);
                if self.can_reject() {
                    self.server.reject_pool.reject(accepted);
                }
            }
        }
        None
    }

    /// Closes a connection of a peer that may not send a PROXY header.
    fn refuse_untrusted(&self, request: L::Request) {
        let service = Arc::clone(&self.server.service);
        let state = RequestState::Rejected(Cause::Refused);
        let accepted = Accepted::new(request, service, None, state);
        log_untrusted(&accepted.permit);
    }

    /// The request that has been in the pending queue longest; it is active from now on. `None` if the
    /// group's limit is reached.
    pub(super) fn pop_pending(&mut self) -> Option<Box<Accepted<L::Request>>> {
        let group_permit = self.acquire()?;
        let (_, mut request) = self.state.pending.pop_front()?;
        request.set_state(RequestState::Active);
        request.permit.set_group_permit(group_permit);
        Some(request)
    }

    /// Rejects the requests that have been in the pending queue for too long.
    pub(super) fn reject_expired(&mut self) {
        let is_over = |until: Instant| until <= Instant::now();
        while self
            .state
            .pending
            .front()
            .is_some_and(|(until, _)| is_over(*until))
        {
            if let Some((_, request)) = self.state.pending.pop_front() {
                self.server
                    .reject_queued(request, RejectReason::QueueTimeout);
            }
        }
    }
}

fn expiry(timeout: Duration) -> Instant {
    // A longer time cannot be represented everywhere.
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + timeout.min(YEAR)
}

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Rejects all requests in the pending queue.
    pub(super) fn reject_pending(&self, state: &mut AcceptState<L::Request>) {
        while let Some((_, request)) = state.pending.pop_front() {
            self.reject_queued(request, RejectReason::Shutdown);
        }
    }

    fn reject_queued(&self, mut request: Box<Accepted<L::Request>>, why: RejectReason) {
        request.set_state(RequestState::Rejected(Cause::RejectReason(why)));
        self.reject_pool.reject(request);
    }
}

/// A few threads that run `reject_request`, so that no other request waits for it. A server that forks
/// has none, and runs it on the thread of the accept loop.
pub(super) struct RejectPool(Option<ThreadPool>);

impl RejectPool {
    /// How many rejections may run and wait.
    const CAPACITY: usize = 1024;
    const THREADS: usize = 16;
    const KEEP_ALIVE: Duration = Duration::from_secs(1);

    pub(super) fn new(may_start_threads: bool) -> Self {
        let pool = || {
            ThreadPool::new()
                .max_threads(Self::THREADS)
                .thread_keep_alive(Self::KEEP_ALIVE)
                .thread_name("reject")
        };
        RejectPool(may_start_threads.then(pool))
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        let has_capacity = |pool: &ThreadPool| pool.has_fewer_than(Self::CAPACITY, waker);
        self.0.as_ref().is_none_or(has_capacity)
    }

    fn reject<R: Request>(&self, request: Box<Accepted<R>>) {
        let job = Job::new(request);
        match &self.0 {
            Some(pool) => pool.dispatch(job),
            None => job.run(),
        }
    }

    pub(super) fn join(&self, server: &ServerHandle) {
        if let Some(pool) = &self.0 {
            pool.join(server);
        }
    }
}
