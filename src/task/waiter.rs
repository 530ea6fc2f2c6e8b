use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::green;

/// A thread or a task that waits to be woken, once.
pub(crate) struct Waiter {
    is_woken: AtomicBool,
    kind: WaiterKind,
}

enum WaiterKind {
    Thread(Thread),
    Task(green::TaskHandle),
}

impl Waiter {
    /// The calling thread or task.
    pub(crate) fn current() -> Arc<Self> {
        Arc::new(Waiter {
            is_woken: AtomicBool::new(false),
            kind: WaiterKind::current(),
        })
    }

    /// Waits until it is woken. Returns false after the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        while !self.is_woken.load(Ordering::Acquire) {
            if deadline.is_some_and(|at| at <= Instant::now()) {
                return false;
            }
            match (&self.kind, deadline) {
                (WaiterKind::Task(task), _) => task.park(deadline),
                (WaiterKind::Thread(_), None) => thread::park(),
                (WaiterKind::Thread(_), Some(at)) => {
                    thread::park_timeout(at.saturating_duration_since(Instant::now()));
                }
            }
        }
        true
    }

    pub(crate) fn wake(&self) {
        self.is_woken.store(true, Ordering::Release);
        match &self.kind {
            WaiterKind::Thread(thread) => thread.unpark(),
            WaiterKind::Task(task) => task.wake(),
        }
    }
}

impl WaiterKind {
    fn current() -> Self {
        let task = green::current().map(green::CurrentTask::handle);
        task.map_or_else(|| WaiterKind::Thread(thread::current()), WaiterKind::Task)
    }
}

/// Those that wait for the same thing, in the order in which they came.
#[derive(Default)]
pub(crate) struct Waiters(VecDeque<Arc<Waiter>>);

impl Waiters {
    pub(super) const EMPTY: Self = Waiters(VecDeque::new());

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the calling thread or task, in front of the others or behind them.
    pub(super) fn add(&mut self, in_front: bool) -> Arc<Waiter> {
        let waiter = Waiter::current();
        if in_front {
            self.0.push_front(Arc::clone(&waiter));
        } else {
            self.0.push_back(Arc::clone(&waiter));
        }
        waiter
    }

    pub(super) fn wake_all(self) {
        for waiter in self.0 {
            waiter.wake();
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Arc<Waiter>> {
        self.0.pop_front()
    }

    /// Removes one that does not wait any more. Returns false if it was taken out to be woken.
    pub(crate) fn remove(&mut self, waiter: &Arc<Waiter>) -> bool {
        let at = self.0.iter().position(|other| Arc::ptr_eq(other, waiter));
        at.and_then(|at| self.0.remove(at)).is_some()
    }
}
