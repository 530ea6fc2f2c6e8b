use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use super::permit::Permit;
use crate::limits::RejectReason;
use crate::statistics::{Cause, RequestEnd, RequestState, Statistics};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};

/// A connection that the server may have to end.
pub trait OpenConnection: AsFd + Send + Sync {
    /// Ends it if it is idle, or else when it becomes idle.
    fn drain(&self);

    /// Ends it now.
    fn force_close(&self);
}

/// A connection's entry in the registry.
#[derive(Clone)]
pub struct ConnectionEntry {
    pub connection: Weak<dyn OpenConnection>,
    pub bytes: Arc<ByteCounters>,
}

/// Bytes received and sent. Each is written by one thread at a time: there is one reader, and a lock
/// for writers.
#[derive(Debug, Default)]
pub struct ByteCounters {
    received: AtomicU64,
    sent: AtomicU64,
    /// Those of a detached connection count for the server up to then.
    at_detach: OnceLock<(u64, u64)>,
}

impl ByteCounters {
    pub(crate) fn add_received(&self, bytes: usize) {
        add(&self.received, bytes);
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        add(&self.sent, bytes);
    }

    pub(crate) fn totals(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.received), load(&self.sent))
    }

    pub(crate) fn detach(&self) {
        let _ = self.at_detach.set(self.totals());
    }

    fn of_server(&self) -> (u64, u64) {
        self.at_detach
            .get()
            .copied()
            .unwrap_or_else(|| self.totals())
    }
}

/// Without the cost of an atomic addition.
fn add(counter: &AtomicU64, bytes: usize) {
    let sum = counter.load(Ordering::Relaxed) + bytes as u64;
    counter.store(sum, Ordering::Relaxed);
}

/// The requests of one server, what became of earlier ones, and the threads that wait for them to end.
#[derive(Default)]
pub(crate) struct Registry {
    requests: Mutex<Requests>,
    request_ended: Condvar,
    /// Of closed connections, and of datagrams.
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

#[derive(Default)]
struct Requests {
    /// Accepted and not closed.
    present: usize,
    /// Handled and closed.
    ended: u64,
    counts: Statistics,
    per_ip: HashMap<IpAddr, usize>,
    connections: Vec<Option<ConnectionEntry>>,
    free: Vec<Slot>,
    /// The accept loop waits until an active request ends.
    acceptor_waits: bool,
}

/// An index into `Requests::connections`.
pub(super) type Slot = usize;

/// What permits do. The functions that return a `bool` say whether to wake the accept loop.
impl Registry {
    pub(super) fn enter(
        &self,
        permit: &mut Permit,
        connection: Option<ConnectionEntry>,
        ip: Option<(IpAddr, usize)>,
    ) {
        let mut requests = self.requests.lock();
        if let Some((ip, limit)) = ip {
            if requests.enter_ip(ip, limit) {
                permit.ip = Some(ip);
            } else {
                permit.state = RequestState::Rejected(Cause::RejectReason(RejectReason::PerIp));
            }
        }
        permit.connection = connection.map(|connection| requests.insert(connection));
        requests.present += 1;
        requests.counts.accepted += 1;
        requests.counts.enter_state(permit.state);
    }

    /// Ends one connection as a shutdown ends all.
    pub(super) fn end_connection(&self, permit: &Permit, by_force: bool) {
        let requests = self.requests.lock();
        let entry = permit
            .connection
            .and_then(|slot| requests.connections[slot].clone());
        drop(requests);
        if let Some(connection) = entry.and_then(|entry| entry.connection.upgrade()) {
            connection.drain();
            if by_force {
                connection.force_close();
            }
        }
    }

    pub(super) fn change(&self, from: RequestState, to: RequestState) -> bool {
        let mut requests = self.requests.lock();
        requests.counts.leave_state(from);
        requests.counts.enter_state(to);
        requests.acceptor_waits_for(from)
    }

    pub(super) fn leave(&self, permit: &Permit) -> bool {
        let mut requests = self.requests.lock();
        if let Some(ip) = permit.ip {
            requests.leave_ip(ip);
        }
        if let Some(bytes) = permit.connection.and_then(|slot| requests.remove(slot)) {
            let (received, sent) = bytes.of_server();
            self.count_bytes(received, sent);
        }
        requests.counts.leave_state(permit.state);
        requests.present -= 1;
        match (permit.state, permit.end) {
            (RequestState::Rejected(_), _) => {}
            (_, RequestEnd::NotHandled(cause)) => requests.counts.count_rejected(cause),
            (_, RequestEnd::Handled(outcome)) => {
                requests.ended += 1;
                requests.counts.count(outcome);
            }
        }
        let wakes = requests.acceptor_waits_for(permit.state);
        drop(requests);
        self.request_ended.notify_all();
        wakes
    }

    /// Whether fewer than `limit` requests are active. If not, the next one that ends wakes the accept
    /// loop.
    pub(crate) fn has_capacity(&self, limit: usize) -> bool {
        let mut requests = self.requests.lock();
        let has_capacity = requests.counts.active < limit;
        requests.acceptor_waits |= !has_capacity;
        has_capacity
    }
}

impl Requests {
    /// Returns false if the address has `limit` requests already.
    fn enter_ip(&mut self, ip: IpAddr, limit: usize) -> bool {
        let count = self.per_ip.entry(ip).or_default();
        let is_below = *count < limit;
        *count += usize::from(is_below);
        is_below
    }

    fn leave_ip(&mut self, ip: IpAddr) {
        if let Some(count) = self.per_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
        }
    }

    fn insert(&mut self, connection: ConnectionEntry) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.connections[slot] = Some(connection);
            return slot;
        }
        self.connections.push(Some(connection));
        self.connections.len() - 1
    }

    /// `None` in a forked process, where other connections were removed before.
    fn remove(&mut self, slot: Slot) -> Option<Arc<ByteCounters>> {
        self.free.push(slot);
        Some(self.connections[slot].take()?.bytes)
    }

    fn acceptor_waits_for(&mut self, left: RequestState) -> bool {
        left == RequestState::Active && mem::take(&mut self.acceptor_waits)
    }
}

/// In a forked process.
#[cfg(feature = "fork")]
impl Registry {
    /// The connections of all requests but this one belong to the parent.
    pub(crate) fn abandon_all_but(&self, own: &Permit) {
        use std::os::fd::AsRawFd;
        let mut requests = self.requests.lock();
        for (slot, entry) in requests.connections.iter_mut().enumerate() {
            if Some(slot) == own.connection {
                continue;
            }
            let connection = entry.take().and_then(|entry| entry.connection.upgrade());
            if let Some(connection) = connection {
                crate::sys::process::replace_with_dev_null(connection.as_fd().as_raw_fd());
            }
        }
    }
}

/// Looking at all requests, and waiting for them to end.
impl Registry {
    pub(crate) fn for_each_connection(&self, visit: impl FnMut(&dyn OpenConnection)) {
        // Collected first: a visit makes system calls, and requests come and go meanwhile.
        let all: Vec<_> = {
            let requests = self.requests.lock();
            let entries = requests.connections.iter().flatten();
            entries
                .filter_map(|entry| entry.connection.upgrade())
                .collect()
        };
        all.iter().map(|connection| &**connection).for_each(visit);
    }

    /// All but the threads, which the registry does not know.
    pub(crate) fn statistics(&self) -> Statistics {
        let requests = self.requests.lock();
        let mut statistics = requests.counts;
        statistics.bytes_in = self.bytes_in.load(Ordering::Relaxed);
        statistics.bytes_out = self.bytes_out.load(Ordering::Relaxed);
        for entry in requests.connections.iter().flatten() {
            let (received, sent) = entry.bytes.of_server();
            statistics.bytes_in += received;
            statistics.bytes_out += sent;
        }
        statistics
    }

    pub(crate) fn count_bytes(&self, received: u64, sent: u64) {
        self.bytes_in.fetch_add(received, Ordering::Relaxed);
        self.bytes_out.fetch_add(sent, Ordering::Relaxed);
    }

    /// How many requests are not closed yet.
    pub(crate) fn present(&self) -> usize {
        self.requests.lock().present
    }

    /// How many requests have been handled so far.
    pub(crate) fn ended(&self) -> u64 {
        self.requests.lock().ended
    }

    /// Waits until no request is left but the calling thread's own, or the time that `give_up_at`
    /// returns has come; it is called again after each [`wake_waiting`](Self::wake_waiting). Returns how
    /// many are left, and how many have ended.
    pub(crate) fn wait(&self, give_up_at: impl Fn() -> Option<Instant>) -> (usize, u64) {
        let own = self.running_here();
        let mut requests = self.requests.lock();
        while requests.present > own {
            match give_up_at() {
                None => self.request_ended.wait(&mut requests),
                Some(at) if Instant::now() >= at => break,
                Some(at) => drop(self.request_ended.wait_until(&mut requests, at)),
            }
        }
        (requests.present - own, requests.ended)
    }

    pub(crate) fn wake_waiting(&self) {
        // Locked once, so that no thread is between its check and its wait.
        drop(self.requests.lock());
        self.request_ended.notify_all();
    }
}
