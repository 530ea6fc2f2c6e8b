use std::fmt;
use std::mem;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Job;
use crate::handle::ChildProcesses;
use crate::sync::Mutex;
use crate::sys::process::{self, ExitState, Pid};

/// The resources of a child's request.
pub(crate) trait ChildWork {
    /// In the child, before the request runs.
    fn begin_in_child(&mut self);

    /// In the parent, once the child runs: closes the parent's copy of the connection.
    fn leave_to(&mut self, child: Pid);

    /// In the parent, once the child has ended.
    fn child_ended(&mut self, child: Pid, exit: ExitState);
}

/// The children of one server.
pub(super) struct ChildTable {
    children: Mutex<Vec<Child>>,
    reaped_at: Mutex<Instant>,
    sigterm_sent_at: Mutex<Option<Instant>>,
    limit: AtomicUsize,
    /// The server waits for one to end.
    is_waited_for: AtomicBool,
    listener: AtomicI32,
    /// Children that are inserted from now on are killed at once.
    killed: AtomicBool,
}

/// A child with the request that it runs.
struct Child {
    pid: Pid,
    job: Job,
}

impl ChildTable {
    const POLL_SOON: Duration = Duration::from_millis(5);
    const POLL_LATER: Duration = Duration::from_millis(500);
    const SIGTERM_INTERVAL: Duration = Duration::from_millis(50);
    const NO_LISTENER: RawFd = -1;

    pub(super) fn new(limit: usize) -> Self {
        ChildTable {
            children: Mutex::default(),
            reaped_at: Mutex::new(Instant::now()),
            sigterm_sent_at: Mutex::default(),
            limit: AtomicUsize::new(limit),
            is_waited_for: AtomicBool::new(false),
            listener: AtomicI32::new(Self::NO_LISTENER),
            killed: AtomicBool::new(false),
        }
    }

    pub(super) fn has_capacity(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if self.children.lock().len() >= limit {
            self.reap();
        }
        let has_capacity = self.children.lock().len() < limit;
        self.is_waited_for.store(!has_capacity, Ordering::Relaxed);
        has_capacity
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.children.lock().len()
    }

    /// Returns whether any have ended.
    fn reap(&self) -> bool {
        *self.reaped_at.lock() = Instant::now();
        let mut ended = Vec::new();
        let mut children = self.children.lock();
        for child in mem::take(&mut *children) {
            match process::try_reap(child.pid) {
                ExitState::Running => children.push(child),
                exit => ended.push((child, exit)),
            }
        }
        drop(children);
        let any_ended = !ended.is_empty();
        // Outside the lock: the end of a request takes other locks.
        for (mut child, exit) in ended {
            child.job.0.child_work().child_ended(child.pid, exit);
        }
        any_ended
    }

    pub(super) fn insert(&self, pid: Pid, mut job: Job) {
        job.0.child_work().leave_to(pid);
        // Locked until it is killed too: nobody reaps it before.
        let mut children = self.children.lock();
        children.push(Child { pid, job });
        if self.killed.load(Ordering::SeqCst) {
            process::send_sigkill(pid);
        }
    }

    /// The whole life of a child.
    pub(super) fn run_as_child(&self, mut job: Job) -> ! {
        let _exit = ExitOnDrop;
        // The parent reaps and signals the others.
        mem::forget(mem::take(&mut *self.children.lock()));
        let listener = self.listener.load(Ordering::Relaxed);
        if listener != Self::NO_LISTENER {
            process::replace_with_dev_null(listener);
        }
        job.0.child_work().begin_in_child();
        process::exit(job.0.run())
    }
}

/// A child must not go on as its parent would, not even after a panic.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        process::exit(false);
    }
}

impl ChildProcesses for ChildTable {
    fn poll(&self, now: bool) -> Option<Duration> {
        let now = now || self.is_waited_for.load(Ordering::Relaxed);
        let pause = if now {
            Self::POLL_SOON
        } else {
            Self::POLL_LATER
        };
        let is_due = now || self.reaped_at.lock().elapsed() >= pause;
        if is_due && self.reap() {
            // It has ended after the server has asked for capacity. The server asks again at once.
            return Some(Duration::ZERO);
        }
        let any_left = !self.children.lock().is_empty();
        any_left.then_some(pause)
    }

    /// Repeats the signal: a child that was about to block in a read misses one. The rate is limited, because
    /// the signal interrupts busy children.
    fn drain(&self) {
        self.is_waited_for.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let mut sent_at = self.sigterm_sent_at.lock();
        if sent_at.is_some_and(|at| now - at < Self::SIGTERM_INTERVAL) {
            return;
        }
        *sent_at = Some(now);
        for child in &*self.children.lock() {
            process::send_sigterm(child.pid);
        }
    }

    fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        for child in &*self.children.lock() {
            process::send_sigkill(child.pid);
        }
    }

    fn set_limit(&self, children: usize) {
        self.limit.store(children.max(1), Ordering::Relaxed);
    }

    fn set_listener(&self, listener: RawFd) {
        self.listener.store(listener, Ordering::Relaxed);
    }
}

impl fmt::Debug for ChildTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildTable")
            .field("children", &self.children.lock().len())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
