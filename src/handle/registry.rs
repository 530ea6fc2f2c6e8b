use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::limits::RejectReason;
use crate::statistics::{ByteCounters, Cause, RequestEnd, RequestState, Statistics};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};

/// A connection that the server may have to end.
pub trait OpenConnection: AsFd + Send + Sync {
    /// Ends it if it is idle, or else when it becomes idle.
    fn drain(&self);

    /// Ends it after a message that begins from now on, when it is idle again.
    fn retire(&self);

    /// Ends it now.
    fn force_close(&self);
}

/// A connection's entry in the registry.
#[derive(Clone)]
pub struct ConnectionEntry {
    pub connection: Weak<dyn OpenConnection>,
    pub bytes: Arc<ByteCounters>,
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
    /// At most so many requests may be left before the first thread that waits for them goes on.
    awaited: usize,
}

/// What the registry knows of one request. Its permit keeps it.
pub(super) struct RequestEntry {
    pub(super) state: RequestState,
    pub(super) end: RequestEnd,
    ip: Option<IpAddr>,
    slot: Option<Slot>,
}

/// An index into `Requests::connections`.
type Slot = usize;

/// The operations of permits. Functions that return a `bool` return whether to wake the accept loop.
impl Registry {
    /// Counts a request. Above the limit of its IP address its state is `Rejected` instead of `state`.
    pub(super) fn enter(
        &self,
        connection: Option<ConnectionEntry>,
        ip: Option<(IpAddr, usize)>,
        state: RequestState,
    ) -> RequestEntry {
        let mut requests = self.requests.lock();
        let is_below = ip.is_none_or(|(ip, limit)| requests.enter_ip(ip, limit));
        let too_many = Cause::RejectReason(RejectReason::PerIp);
        let entry = RequestEntry {
            state: if is_below {
                state
            } else {
                RequestState::Rejected(too_many)
            },
            // Unless a handler begins.
            end: RequestEnd::NotHandled(Cause::Dispatch),
            ip: ip.map(|(ip, _)| ip).filter(|_| is_below),
            slot: connection.map(|connection| requests.insert(connection)),
        };
        requests.present += 1;
        requests.counts.accepted += 1;
        requests.counts.enter_state(entry.state);
        entry
    }

    /// Counts a request of which the IP address was not known before. Returns false at the limit: it does not
    /// count then.
    pub(super) fn enter_ip(&self, entry: &mut RequestEntry, ip: IpAddr, limit: usize) -> bool {
        let is_below = self.requests.lock().enter_ip(ip, limit);
        if is_below {
            entry.ip = Some(ip);
        }
        is_below
    }

    /// Ends one connection as a shutdown ends all.
    pub(super) fn end_connection(&self, entry: &RequestEntry, by_force: bool) {
        if let Some(connection) = self.connection(entry) {
            connection.drain();
            if by_force {
                connection.force_close();
            }
        }
    }

    /// Retires one connection, as all are before a shutdown with a delay.
    pub(super) fn retire_connection(&self, entry: &RequestEntry) {
        if let Some(connection) = self.connection(entry) {
            connection.retire();
        }
    }

    fn connection(&self, entry: &RequestEntry) -> Option<Arc<dyn OpenConnection>> {
        let requests = self.requests.lock();
        let found = requests.connections[entry.slot?].as_ref()?;
        found.connection.upgrade()
    }

    pub(super) fn change(&self, entry: &mut RequestEntry, state: RequestState) -> bool {
        let mut requests = self.requests.lock();
        requests.counts.leave_state(entry.state);
        requests.counts.enter_state(state);
        let before = mem::replace(&mut entry.state, state);
        requests.acceptor_waits_for(before)
    }

    pub(super) fn leave(&self, entry: &RequestEntry) -> bool {
        let mut requests = self.requests.lock();
        if let Some(ip) = entry.ip {
            requests.leave_ip(ip);
        }
        if let Some(bytes) = entry.slot.and_then(|slot| requests.remove(slot)) {
            let (received, sent) = bytes.of_server();
            self.count_bytes(received, sent);
        }
        requests.counts.leave_state(entry.state);
        requests.present -= 1;
        match (entry.state, entry.end) {
            (RequestState::Rejected(_), _) => {}
            (_, RequestEnd::NotHandled(cause)) => requests.counts.count_rejected(cause),
            (_, RequestEnd::Handled(outcome)) => {
                requests.ended += 1;
                requests.counts.count(outcome);
            }
        }
        let wakes = requests.acceptor_waits_for(entry.state);
        let ends_wait = requests.present <= requests.awaited;
        drop(requests);
        if ends_wait {
            self.request_ended.notify_all();
        }
        wakes
    }

    /// How many requests count for an IP address.
    pub(crate) fn count_of(&self, ip: IpAddr) -> usize {
        let requests = self.requests.lock();
        requests.per_ip.get(&ip).copied().unwrap_or_default()
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

    /// Keeps one that is active, and what has ended, so that the counts still add up.
    #[cfg(feature = "fork")]
    fn forget_all_but_one(&mut self) {
        let counts = &mut self.counts;
        let others = counts.active - 1 + counts.queued;
        counts.accepted -= others as u64;
        (counts.active, counts.queued, self.present) = (1, 0, 1);
    }

    fn acceptor_waits_for(&mut self, left: RequestState) -> bool {
        left == RequestState::Active && mem::take(&mut self.acceptor_waits)
    }
}

/// In a forked process.
#[cfg(feature = "fork")]
impl Registry {
    /// All requests but this one run in other processes: their connections belong to the parent, and they do
    /// not count here.
    pub(super) fn abandon_all_but(&self, own: &RequestEntry) {
        use std::os::fd::AsRawFd;
        let mut requests = self.requests.lock();
        requests.forget_all_but_one();
        for (slot, entry) in requests.connections.iter_mut().enumerate() {
            if Some(slot) == own.slot {
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
        for (bytes, counter) in [(received, &self.bytes_in), (sent, &self.bytes_out)] {
            if bytes > 0 {
                counter.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// A request has blocked the thread that others need too.
    #[cfg(feature = "green")]
    pub(crate) fn count_blocked(&self) {
        self.requests.lock().counts.blocked_workers += 1;
    }

    /// How many requests are not closed yet.
    pub(crate) fn present(&self) -> usize {
        self.requests.lock().present
    }

    /// How many requests have been handled so far.
    pub(crate) fn ended(&self) -> u64 {
        self.requests.lock().ended
    }

    /// Waits until no request is left but `own`, those of the calling thread, or the time that
    /// `give_up_at` returns has come; it is called again after each [`wake_waiting`](Self::wake_waiting).
    /// Returns how many are left, and how many have ended.
    pub(super) fn wait(
        &self,
        own: usize,
        give_up_at: impl Fn() -> Option<Instant>,
    ) -> (usize, u64) {
        let mut requests = self.requests.lock();
        requests.awaited = requests.awaited.max(own);
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
