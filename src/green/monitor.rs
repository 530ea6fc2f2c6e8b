use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::handle::WorkerHandle;
use super::status::TaskStatus;
use crate::log_line::log_line;
use crate::sys::timer::{OnTimer, Timer};

/// How long a task may run before its worker counts as blocked.
const LIMIT: Duration = Duration::from_millis(100);

/// Between two log lines about one worker.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Finds workers that a handler blocks, counts and logs them, and gives the requests that they have not begun to
/// other workers. It runs only while a worker is awake.
pub(crate) struct Monitor {
    workers: Mutex<Vec<Watched>>,
    timer: Mutex<Option<Timer>>,
    is_set: AtomicBool,
}

struct Watched {
    worker: Arc<WorkerHandle>,
    /// How often it had resumed a task at the last look.
    resumed: u64,
    /// When it was first seen in its present task: up to one interval after the task was resumed.
    since: Instant,
    is_counted: bool,
    logged_at: Option<Instant>,
}

impl Monitor {
    pub(crate) fn new() -> Self {
        Monitor {
            workers: Mutex::default(),
            timer: Mutex::default(),
            is_set: AtomicBool::new(false),
        }
    }

    /// Adds a worker. Its number is how many were added before.
    pub(crate) fn add(&self, worker: Arc<WorkerHandle>) {
        self.workers.lock().push(Watched {
            worker,
            resumed: 0,
            since: Instant::now(),
            is_counted: false,
            logged_at: None,
        });
    }

    /// Ends all workers once they have no tasks. Meanwhile no request moves to a worker that has ended.
    pub(crate) fn end_workers(&self) {
        let workers = self.workers.lock();
        workers.iter().for_each(|watched| watched.worker.end());
    }

    /// A worker is awake.
    pub(super) fn start(self: &Arc<Self>) {
        if self.is_set.load(Ordering::SeqCst) || self.is_set.swap(true, Ordering::SeqCst) {
            return;
        }
        let target: Weak<Monitor> = Arc::downgrade(self);
        match Timer::set(Instant::now() + LIMIT, target) {
            Ok(timer) => *self.timer.lock() = Some(timer),
            // Without a timer nothing is reported. The next worker that wakes tries again.
            Err(_) => self.is_set.store(false, Ordering::SeqCst),
        }
    }

    fn check(&self, now: Instant) {
        let mut workers = self.workers.lock();
        for (number, watched) in workers.iter_mut().enumerate() {
            watched.check(number, now);
        }
        let workers = || workers.iter().map(|watched| &watched.worker);
        let blocked = workers().filter(|worker| worker.is_blocked() && !worker.is_ending());
        for job in blocked.flat_map(|worker| worker.take_jobs()) {
            let next = workers().min_by_key(|worker| worker.load());
            next.expect("there is a worker").send_job(job);
        }
    }

    fn is_needed(&self) -> bool {
        let workers = self.workers.lock();
        workers
            .iter()
            .any(|watched| !watched.worker.is_sleeping() || watched.worker.is_blocked())
    }
}

impl OnTimer for Monitor {
    fn on_timer(&self, now: Instant) -> Option<Instant> {
        self.check(now);
        if !self.is_needed() {
            self.is_set.store(false, Ordering::SeqCst);
            // One may have woken since, and have seen that the timer is set.
            if !self.is_needed() || self.is_set.swap(true, Ordering::SeqCst) {
                return None;
            }
        }
        Some(now + LIMIT)
    }
}

impl Watched {
    fn check(&mut self, number: usize, now: Instant) {
        let resumed = self.worker.resumed();
        if resumed != self.resumed || self.worker.is_sleeping() {
            (self.resumed, self.since, self.is_counted) = (resumed, now, false);
            self.worker.set_blocked(false);
            return;
        }
        let Some(blocking) = self.worker.running_request() else {
            return;
        };
        if !self.is_counted {
            self.is_counted = true;
            self.worker.set_blocked(true);
            blocking.server.registry().count_blocked();
        }
        if self.logged_at.is_none_or(|at| now - at >= LOG_INTERVAL) {
            self.logged_at = Some(now);
            self.log(number, now, &blocking);
        }
    }

    fn log(&self, number: usize, now: Instant, blocking: &Arc<TaskStatus>) {
        let mut others = self.worker.statuses();
        others.retain(|other| !Arc::ptr_eq(other, blocking));
        let oldest = others.iter().min_by_key(|other| other.dispatched_at());
        let waiting = oldest.map_or_else(String::new, |oldest| {
            let (count, state) = (others.len(), oldest.state());
            format!("; other requests of this worker: {count}, the oldest is {oldest} ({state})")
        });
        let time = now - self.since;
        log_line!(
            target: "socketserver::dispatch", Warn,
            "{blocking} has blocked worker {number} for {time:.1?}{waiting}"
        );
    }
}
