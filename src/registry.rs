use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::Weak;
use std::time::Instant;

use crate::limits::RejectReason;
use crate::statistics::{Cause, Outcome, Statistics};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, thread_local};

/// The requests of one server between accept and close, what became of those before, and who waits
/// for them to end.
#[derive(Default)]
pub(crate) struct Registry {
    requests: Mutex<Requests>,
    fewer: Condvar,
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
    sources: HashMap<IpAddr, usize>,
    connections: HashMap<u64, Weak<dyn Live>>,
    /// The serving thread waits for a request to leave.
    waited_for: bool,
}

/// A connection that a server may have to end.
pub(crate) trait Live: Send + Sync {
    /// Ends it if it waits for a request.
    fn drain(&self);

    /// Ends it now.
    fn cut(&self);

    /// Bytes received and sent so far.
    fn traffic(&self) -> (u64, u64);

    /// Gives up this process' hold on it: it is another's.
    #[cfg(feature = "fork")]
    fn let_go(&self);
}

/// Where a request is between accept and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Queued,
    /// It holds a permit.
    Active,
    /// On its way out without having been handled.
    Rejected(Cause),
}

impl Place {
    pub(crate) fn rejected(why: RejectReason) -> Self {
        Place::Rejected(Cause::RejectReason(why))
    }
}

thread_local! {
    /// The registries whose requests this thread runs, by their addresses. Requests nest where a
    /// handler serves another server on its own thread.
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A request's way through its server.
impl Registry {
    /// One more was accepted.
    pub(crate) fn arrive(&self, at: Place) {
        let mut requests = self.requests.lock();
        requests.present += 1;
        requests.counts.accepted += 1;
        requests.counts.enter(at);
    }

    /// Counts a request with its source; false if that has `most` already.
    pub(crate) fn enter_source(&self, source: IpAddr, most: usize) -> bool {
        let mut requests = self.requests.lock();
        let count = requests.sources.entry(source).or_default();
        let admitted = *count < most;
        *count += usize::from(admitted);
        admitted
    }

    /// Whether fewer than `most` requests are active. If not, the next that leaves says so.
    pub(crate) fn has_permit(&self, most: usize) -> bool {
        let mut requests = self.requests.lock();
        let has = requests.counts.active < most;
        requests.waited_for |= !has;
        has
    }

    /// Whether somebody waits for the permit that it gives back.
    pub(crate) fn go(&self, from: Place, to: Place) -> bool {
        let mut requests = self.requests.lock();
        requests.counts.leave(from);
        requests.counts.enter(to);
        requests.is_waited_for(from)
    }

    /// A request is closed. Whether somebody waits for the permit that it gives back.
    pub(crate) fn leave(
        &self,
        from: Place,
        source: Option<IpAddr>,
        outcome: Option<Outcome>,
    ) -> bool {
        let mut requests = self.requests.lock();
        source
            .into_iter()
            .for_each(|source| requests.leave_source(source));
        requests.counts.leave(from);
        requests.present -= 1;
        match (from, outcome) {
            (_, Some(outcome)) => {
                requests.ended += 1;
                requests.counts.count(outcome);
            }
            (Place::Rejected(_), None) => {}
            (_, None) => requests.counts.count_rejected(Cause::Dispatch),
        }
        let waited_for = requests.is_waited_for(from);
        drop(requests);
        self.fewer.notify_all();
        waited_for
    }
}

impl Requests {
    fn leave_source(&mut self, source: IpAddr) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    fn is_waited_for(&mut self, left: Place) -> bool {
        left == Place::Active && mem::take(&mut self.waited_for)
    }
}

impl Statistics {
    fn enter(&mut self, place: Place) {
        match place {
            Place::Queued => {
                self.queued += 1;
                self.peak_queued = self.peak_queued.max(self.queued);
            }
            Place::Active => {
                self.active += 1;
                self.peak_active = self.peak_active.max(self.active);
            }
            Place::Rejected(cause) => self.count_rejected(cause),
        }
    }

    fn leave(&mut self, place: Place) {
        match place {
            Place::Queued => self.queued -= 1,
            Place::Active => self.active -= 1,
            Place::Rejected(_) => {}
        }
    }
}

/// Connections, to be ended, and their bytes.
impl Registry {
    pub(crate) fn enter_connection(&self, id: u64, connection: Weak<dyn Live>) {
        self.requests.lock().connections.insert(id, connection);
    }

    /// Its bytes so far count for the server from now on.
    pub(crate) fn remove_connection(&self, id: u64, (bytes_in, bytes_out): (u64, u64)) {
        let mut requests = self.requests.lock();
        requests.connections.remove(&id);
        self.count_bytes(bytes_in, bytes_out);
    }

    pub(crate) fn count_bytes(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    pub(crate) fn each_connection(&self, visit: impl FnMut(&dyn Live)) {
        // Collected first: a visit makes system calls, and requests come and go meanwhile.
        let all: Vec<_> = {
            let requests = self.requests.lock();
            let connections = requests.connections.values();
            connections.filter_map(Weak::upgrade).collect()
        };
        all.iter().map(|connection| &**connection).for_each(visit);
    }

    /// In a process that was forked for one of them.
    #[cfg(feature = "fork")]
    pub(crate) fn let_go_of_others(&self, own: u64) {
        let mut requests = self.requests.lock();
        let own = requests.connections.remove_entry(&own);
        let others = requests.connections.drain();
        let others = others.filter_map(|(_, connection)| connection.upgrade());
        others.for_each(|connection| connection.let_go());
        requests.connections.extend(own);
    }

    /// All but the threads, which are not known here.
    pub(crate) fn statistics(&self) -> Statistics {
        let requests = self.requests.lock();
        let mut statistics = requests.counts;
        statistics.bytes_in = self.bytes_in.load(Ordering::Relaxed);
        statistics.bytes_out = self.bytes_out.load(Ordering::Relaxed);
        for connection in requests.connections.values().filter_map(Weak::upgrade) {
            let (bytes_in, bytes_out) = connection.traffic();
            statistics.bytes_in += bytes_in;
            statistics.bytes_out += bytes_out;
        }
        statistics
    }
}

/// Waiting for requests to end.
impl Registry {
    /// Marks this thread as running a request, until the guard is dropped.
    pub(crate) fn run_here(&self) -> RunningHere {
        let _ = RUNNING.try_with(|running| running.borrow_mut().push(self.place()));
        RunningHere
    }

    /// Whether the calling thread runs a request.
    pub(crate) fn runs_here(&self) -> bool {
        self.own() > 0
    }

    /// How many requests are not closed yet.
    pub(crate) fn present(&self) -> usize {
        self.requests.lock().present
    }

    /// How many requests have been handled so far.
    pub(crate) fn ended(&self) -> u64 {
        self.requests.lock().ended
    }

    /// Waits until no request is there but the calling thread's own, or `give_up` names a time that
    /// has come; it is asked again whenever somebody [nudges](Self::nudge). Returns how many are
    /// left, and how many have ended.
    pub(crate) fn wait(&self, give_up: impl Fn() -> Option<Instant>) -> (usize, u64) {
        let own = self.own();
        let mut requests = self.requests.lock();
        while requests.present > own {
            match give_up() {
                None => self.fewer.wait(&mut requests),
                Some(at) if Instant::now() >= at => break,
                Some(at) => drop(self.fewer.wait_until(&mut requests, at)),
            }
        }
        (requests.present - own, requests.ended)
    }

    pub(crate) fn nudge(&self) {
        drop(self.requests.lock());
        self.fewer.notify_all();
    }

    fn own(&self) -> usize {
        let place = self.place();
        let count = |running: &RefCell<Vec<usize>>| {
            let running = running.borrow();
            running.iter().filter(|other| **other == place).count()
        };
        // Not there any more: the thread is ending, and runs none.
        RUNNING.try_with(count).unwrap_or(0)
    }

    fn place(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

pub(crate) struct RunningHere;

impl Drop for RunningHere {
    fn drop(&mut self) {
        let _ = RUNNING.try_with(|running| running.borrow_mut().pop());
    }
}
