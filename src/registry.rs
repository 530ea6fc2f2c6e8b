use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Weak;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// The requests of one server between accept and close, and who waits for them to end.
#[derive(Default)]
pub(crate) struct Registry {
    requests: Mutex<Requests>,
    fewer: Condvar,
}

#[derive(Default)]
struct Requests {
    active: usize,
    ended: u64,
    connections: HashMap<u64, Weak<dyn Live>>,
}

/// A connection that a server may have to end.
pub(crate) trait Live: Send + Sync {
    /// Ends it if it waits for a request.
    fn drain(&self);

    /// Ends it now.
    fn cut(&self);
}

thread_local! {
    /// The registries whose requests this thread runs, by their addresses. Requests nest where a
    /// handler serves another server on its own thread.
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Registry {
    pub(crate) fn enter(&self) {
        self.requests.lock().active += 1;
    }

    pub(crate) fn leave(&self) {
        let mut requests = self.requests.lock();
        requests.active -= 1;
        requests.ended += 1;
        drop(requests);
        self.fewer.notify_all();
    }

    pub(crate) fn enter_connection(&self, id: u64, connection: Weak<dyn Live>) {
        self.requests.lock().connections.insert(id, connection);
    }

    pub(crate) fn remove_connection(&self, id: u64) {
        self.requests.lock().connections.remove(&id);
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

    /// Marks this thread as running a request, until the guard is dropped.
    pub(crate) fn run_here(&self) -> RunningHere {
        let _ = RUNNING.try_with(|running| running.borrow_mut().push(self.place()));
        RunningHere
    }

    /// Whether the calling thread runs a request.
    pub(crate) fn runs_here(&self) -> bool {
        self.own() > 0
    }

    /// How many requests run or wait to.
    pub(crate) fn active(&self) -> usize {
        self.requests.lock().active
    }

    /// How many requests have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.requests.lock().ended
    }

    /// Waits until no request runs or waits to but the calling thread's own, or `give_up` names a
    /// time that has come; it is asked again whenever somebody [nudges](Self::nudge). Returns how
    /// many are left, and how many have ended.
    pub(crate) fn wait(&self, give_up: impl Fn() -> Option<Instant>) -> (usize, u64) {
        let own = self.own();
        let mut requests = self.requests.lock();
        while requests.active > own {
            match give_up() {
                None => self.fewer.wait(&mut requests),
                Some(at) if Instant::now() >= at => break,
                Some(at) => drop(self.fewer.wait_until(&mut requests, at)),
            }
        }
        (requests.active - own, requests.ended)
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
