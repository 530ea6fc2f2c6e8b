use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::serving::{Serving, ServingState};
use super::{DrainReport, ServerHandle, Waker};
use crate::statistics::Statistics;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::task;

/// A handle to the servers of a [`ServerGroup`](crate::ServerGroup): stops them and reports on them, from any
/// thread. Cheap to clone.
///
/// ```
/// use std::time::Duration;
///
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let mut group = ServerGroup::new();
/// group.add(ThreadingTcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?);
/// group.add(UdpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?);
/// let handle = group.handle();
/// let serving = std::thread::spawn(move || group.serve_forever());
/// for server in handle.servers() {
///     println!("listening on {}", server.name());
/// }
/// let report = handle.shutdown_within(Duration::from_secs(5));
/// assert_eq!(report.unfinished, 0);
/// serving.join().expect("it does not panic")
/// # }
/// ```
#[derive(Clone)]
pub struct GroupHandle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    servers: Mutex<Vec<ServerHandle>>,
    state: Arc<GroupState>,
}

impl GroupHandle {
    /// The handles of its servers, in the order in which they were added.
    pub fn servers(&self) -> Vec<ServerHandle> {
        self.0.servers.lock().clone()
    }

    /// Begins a graceful shutdown of all servers, and returns at once. See [`ServerHandle::shutdown`]. The
    /// longest [`drain_delay`](crate::Builder::drain_delay) of them applies to all.
    pub fn shutdown(&self) {
        match self.0.state.drain_delay() {
            Duration::ZERO => self.shutdown_now(),
            delay => self.0.state.shutdown_after(delay),
        }
    }

    /// [`shutdown`](Self::shutdown) without a delay.
    pub(crate) fn shutdown_now(&self) {
        self.0.state.begin_shutdown();
        let servers = self.0.servers.lock();
        servers.iter().for_each(ServerHandle::shutdown_now);
    }

    /// [`ServerHandle::set_ready`] for all servers.
    pub fn set_ready(&self, ready: bool) {
        let servers = self.0.servers.lock();
        servers.iter().for_each(|server| server.set_ready(ready));
    }

    /// Whether all servers are ready: see [`ServerHandle::is_ready`].
    pub fn is_ready(&self) -> bool {
        self.0.servers.lock().iter().all(ServerHandle::is_ready)
    }

    /// Shuts all servers down and waits for their running requests, at most for `timeout`, and reports. See
    /// [`ServerHandle::shutdown_within`].
    pub fn shutdown_within(&self, timeout: Duration) -> DrainReport {
        let servers = self.0.servers.lock();
        // The limit is set for all of them before the end of one shuts down the others.
        let begin = |server: &ServerHandle| server.begin_shutdown(timeout);
        let ended: Vec<_> = servers.iter().map(begin).collect();
        servers.iter().for_each(ServerHandle::shutdown_now);
        let draining: Vec<_> = servers.iter().cloned().zip(ended).collect();
        drop(servers);
        let reports = draining
            .iter()
            .map(|(server, ended)| server.drain_report(*ended));
        reports.fold(DrainReport::default(), DrainReport::plus)
    }

    /// Ends serving: [`ServerGroup::serve_forever`](crate::ServerGroup::serve_forever) returns, and can be
    /// called again. See [`ServerHandle::stop_serving`].
    pub fn stop_serving(&self) {
        self.0.state.serving.request_stop(None);
        let servers = self.0.servers.lock();
        servers.iter().for_each(|server| server.poller().notify());
    }

    /// Blocks until no thread is in [`ServerGroup::serve_forever`](crate::ServerGroup::serve_forever), after a
    /// shutdown or [`stop_serving`](Self::stop_serving). See [`ServerHandle::wait`].
    ///
    /// Do not call it in a hook, or in a handler that runs on the thread of an accept loop, because the group
    /// waits for those.
    pub fn wait(&self) {
        let state = &self.0.state;
        let is_shutdown_begun = || state.is_shutdown_begun.load(Ordering::SeqCst);
        task::blocking(|| state.serving.wait(is_shutdown_begun, || None));
    }

    /// The sums of the servers' statistics. A sum of peaks may be higher than the peak of the group, because
    /// the servers may have had theirs at different times. The threads of a pool that several servers share
    /// count for each of them.
    pub fn statistics(&self) -> Statistics {
        let all = self.servers();
        let all = all.iter().map(ServerHandle::statistics);
        all.fold(Statistics::default(), Statistics::plus)
    }

    /// Changes [`max_connections`](crate::ServerGroup::max_connections). Connections beyond a lower limit
    /// stay until they end. 0 counts as 1.
    pub fn set_max_connections(&self, connections: impl Into<Option<usize>>) {
        self.0.state.limit.set(connections.into());
    }

    pub(crate) fn new() -> Self {
        GroupHandle(Arc::default())
    }

    pub(crate) fn add(&self, server: ServerHandle) {
        // A server is moved into its group, so that it joins only one.
        let _ = server.0.group.set(Arc::clone(&self.0.state));
        let member = Arc::downgrade(&server.0);
        self.0.state.members.lock().push(member);
        self.0.servers.lock().push(server);
    }

    /// Marks the calling thread as the one that serves the group, until the value is dropped.
    pub(crate) fn start_serving(&self) -> Serving<'_> {
        self.0.state.serving.start()
    }
}

impl fmt::Debug for GroupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle")
            .field("servers", &self.servers())
            .finish_non_exhaustive()
    }
}

impl ServerHandle {
    /// The group that it belongs to.
    #[inline]
    pub(crate) fn group(&self) -> Option<&Arc<GroupState>> {
        self.0.group.get()
    }

    /// Whether its group stops serving.
    pub(super) fn group_must_stop(&self) -> bool {
        let group = self.group();
        group.is_some_and(|group| group.serving.is_requested())
    }
}

/// What the servers of a group share.
#[derive(Default)]
pub(crate) struct GroupState {
    limit: GroupLimit,
    members: Mutex<Vec<Weak<super::Shared>>>,
    serving: ServingState,
    /// Of one of the servers, or of all. Read while the state of serving is locked.
    is_shutdown_begun: AtomicBool,
}

impl GroupState {
    /// One server shuts down. The others follow when it has ended, unless there is a delay: then all wait for its
    /// end.
    pub(super) fn shutdown_member(&self, server: &ServerHandle) {
        match self.drain_delay() {
            Duration::ZERO => server.shutdown_now(),
            delay => self.shutdown_after(delay),
        }
    }

    fn shutdown_after(&self, delay: Duration) {
        let members = self.members();
        members
            .iter()
            .for_each(|server| server.shutdown_after(delay));
    }

    /// The longest of its servers.
    fn drain_delay(&self) -> Duration {
        let delays = self.members().into_iter();
        let delays = delays.map(|server| server.0.drain_delay.time);
        delays.max().unwrap_or_default()
    }

    fn members(&self) -> Vec<ServerHandle> {
        let members = self.members.lock();
        members
            .iter()
            .filter_map(Weak::upgrade)
            .map(ServerHandle)
            .collect()
    }

    pub(super) fn begin_shutdown(&self) {
        self.is_shutdown_begun.store(true, Ordering::SeqCst);
        self.serving.wake_waiting();
    }

    /// Whether one more connection may be active. At the limit returns that instead, and wakes the server
    /// when there are fewer.
    pub(crate) fn has_capacity(&self, waker: &Waker) -> Result<(), usize> {
        self.limit.0.lock().check(waker)
    }

    /// The right to serve one more connection. `None` at the limit; then wakes the server when there are
    /// fewer.
    pub(crate) fn acquire(self: &Arc<Self>, waker: &Waker) -> Option<GroupPermit> {
        let mut active = self.limit.0.lock();
        active.check(waker).ok()?;
        active.count += 1;
        Some(GroupPermit(Arc::clone(self)))
    }

    /// The server does not wait any more.
    pub(crate) fn forget(&self, waker: &Waker) {
        let mut active = self.limit.0.lock();
        active.waiting.retain(|other| !other.will_wake(waker));
    }
}

/// The limit of active connections of a group.
#[derive(Default)]
struct GroupLimit(Mutex<Active>);

#[derive(Default)]
struct Active {
    count: usize,
    limit: Option<usize>,
    /// The servers that wait until there are fewer connections.
    waiting: Vec<Waker>,
}

impl GroupLimit {
    fn set(&self, limit: Option<usize>) {
        self.change(|active| active.limit = limit);
    }

    fn change(&self, change: impl FnOnce(&mut Active)) {
        let mut active = self.0.lock();
        change(&mut active);
        let waiting = std::mem::take(&mut active.waiting);
        drop(active);
        waiting.iter().for_each(Waker::wake);
    }
}

impl Active {
    fn check(&mut self, waker: &Waker) -> Result<(), usize> {
        let limit = self.limit.map(|limit| limit.max(1));
        match limit.filter(|limit| self.count >= *limit) {
            None => Ok(()),
            Some(limit) => {
                if !self.waiting.iter().any(|other| other.will_wake(waker)) {
                    self.waiting.push(waker.clone());
                }
                Err(limit)
            }
        }
    }
}

/// The right to serve one connection of a group, until it is dropped.
pub(crate) struct GroupPermit(Arc<GroupState>);

impl Drop for GroupPermit {
    fn drop(&mut self) {
        self.0.limit.change(|active| active.count -= 1);
    }
}
