use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{DrainReport, ServerHandle, Waker};
use crate::statistics::Statistics;
use crate::sync::Mutex;

/// A handle to the servers of a [`ServerGroup`](crate::ServerGroup): stops them and reports on them, from any
/// thread. Cheap to clone.
#[derive(Clone)]
pub struct GroupHandle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    servers: Mutex<Vec<ServerHandle>>,
    limit: Arc<GroupLimit>,
}

impl GroupHandle {
    /// The handles of its servers, in the order in which they were added.
    pub fn servers(&self) -> Vec<ServerHandle> {
        self.0.servers.lock().clone()
    }

    /// Begins a graceful shutdown of all servers, and returns at once. See [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.servers().iter().for_each(ServerHandle::shutdown);
    }

    /// Shuts all servers down and waits for their running requests, at most for `timeout`, and reports. See
    /// [`ServerHandle::shutdown_within`].
    pub fn shutdown_within(&self, timeout: Duration) -> DrainReport {
        let begin = |server: ServerHandle| (server.shutdown_until_forced(timeout), server);
        let draining: Vec<_> = self.servers().into_iter().map(begin).collect();
        let reports = draining
            .iter()
            .map(|(ended, server)| server.drain_report(*ended));
        reports.fold(DrainReport::default(), DrainReport::plus)
    }

    /// Ends serving: [`ServerGroup::serve_forever`](crate::ServerGroup::serve_forever) returns, and can be
    /// called again. See [`ServerHandle::stop_serving`].
    pub fn stop_serving(&self) {
        // The others end with it. A second request could come when they have ended already.
        if let Some(first) = self.servers().first() {
            first.stop_serving();
        }
    }

    /// Blocks until no server of the group is served, after a shutdown or
    /// [`stop_serving`](Self::stop_serving). See [`ServerHandle::wait`].
    pub fn wait(&self) {
        self.servers().iter().for_each(ServerHandle::wait);
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
        self.0.limit.set(connections.into());
    }

    pub(crate) fn new() -> Self {
        GroupHandle(Arc::default())
    }

    pub(crate) fn add(&self, server: ServerHandle) {
        server.join_group(&self.0.limit);
        self.0.servers.lock().push(server);
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
    fn join_group(&self, limit: &Arc<GroupLimit>) {
        // A server is moved into its group, so that it joins only one.
        let _ = self.0.group.set(Arc::clone(limit));
    }

    /// The limit of connections that it shares with other servers.
    pub(crate) fn group(&self) -> Option<&Arc<GroupLimit>> {
        self.0.group.get()
    }
}

/// The limit of active connections of a group of servers.
#[derive(Default)]
pub(crate) struct GroupLimit(Mutex<Active>);

#[derive(Default)]
struct Active {
    count: usize,
    limit: Option<usize>,
    /// The servers that wait until there are fewer connections.
    waiting: Vec<Waker>,
}

impl GroupLimit {
    /// The right to serve one more connection. At the limit returns that instead, and wakes the server when
    /// there are fewer.
    pub(crate) fn acquire(self: &Arc<Self>, waker: &Waker) -> Result<GroupPermit, usize> {
        let mut active = self.0.lock();
        match active.limit.map(|limit| limit.max(1)) {
            Some(limit) if active.count >= limit => {
                if !active.waiting.iter().any(|other| other.will_wake(waker)) {
                    active.waiting.push(waker.clone());
                }
                Err(limit)
            }
            _ => {
                active.count += 1;
                Ok(GroupPermit(Arc::clone(self)))
            }
        }
    }

    /// The server does not wait any more.
    pub(crate) fn forget(&self, waker: &Waker) {
        self.0
            .lock()
            .waiting
            .retain(|other| !other.will_wake(waker));
    }

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

/// The right to serve one connection of a group, until it is dropped.
pub(crate) struct GroupPermit(Arc<GroupLimit>);

impl Drop for GroupPermit {
    fn drop(&mut self) {
        self.0.change(|active| active.count -= 1);
    }
}
