use std::cell::Cell;
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
    /// The registry whose request this thread runs, by its address.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

impl Registry {
    pub(crate) fn enter(&self) {
        self.requests.lock().active += 1;
    }

    pub(crate) fn leave(&self) {
        self.requests.lock().active -= 1;
        self.fewer.notify_all();
    }

    pub(crate) fn enter_connection(&self, id: u64, connection: Weak<dyn Live>) {
        self.requests.lock().connections.insert(id, connection);
    }

    pub(crate) fn remove_connection(&self, id: u64) {
        self.requests.lock().connections.remove(&id);
    }

    pub(crate) fn each_connection(&self, visit: impl FnMut(&dyn Live)) {
        // Collected first: the last reference to a connection may be ours, and closing it takes the
        // lock.
        let connections = &self.requests.lock().connections;
        let all: Vec<_> = connections.values().filter_map(Weak::upgrade).collect();
        all.iter().map(|connection| &**connection).for_each(visit);
    }

    /// Marks this thread as running a request, until the guard is dropped.
    pub(crate) fn run_here(&self) -> RunningHere {
        RunningHere {
            before: RUNNING.replace(self.place()),
        }
    }

    /// How many requests run or wait to, but for the calling thread's own.
    pub(crate) fn active_elsewhere(&self) -> usize {
        self.requests.lock().active - self.own()
    }

    /// Waits until none does, or `give_up` names a time that has come; it is asked again whenever
    /// somebody [nudges](Self::nudge). Returns how many are left.
    pub(crate) fn wait(&self, give_up: impl Fn() -> Option<Instant>) -> usize {
        let own = self.own();
        let mut requests = self.requests.lock();
        while requests.active > own {
            match give_up() {
                None => self.fewer.wait(&mut requests),
                Some(at) if Instant::now() >= at => break,
                Some(at) => drop(self.fewer.wait_until(&mut requests, at)),
            }
        }
        requests.active - own
    }

    pub(crate) fn nudge(&self) {
        drop(self.requests.lock());
        self.fewer.notify_all();
    }

    /// Whether the calling thread runs one of these requests.
    pub(crate) fn runs_here(&self) -> bool {
        RUNNING.get() == self.place()
    }

    fn own(&self) -> usize {
        usize::from(self.runs_here())
    }

    fn place(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// Requests nest where a handler serves another server on its own thread.
pub(crate) struct RunningHere {
    before: usize,
}

impl Drop for RunningHere {
    fn drop(&mut self) {
        RUNNING.set(self.before);
    }
}
