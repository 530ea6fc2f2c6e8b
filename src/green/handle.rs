use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::status::{TaskInfo, TaskStatus};
use super::tasks::TaskId;
use crate::ServerHandle;
use crate::dispatch::Job;
use crate::sys::readiness::Readiness;

/// What other threads have of a worker.
pub(crate) struct WorkerHandle {
    pub(super) readiness: Readiness,
    inbox: Mutex<Inbox>,
    /// It ends once it has no tasks.
    is_ending: AtomicBool,
    /// It waits for events, or is about to: who sends it something wakes it.
    is_sleeping: AtomicBool,
    /// Requests, those in the inbox included.
    requests: AtomicUsize,
    /// How often it has resumed a task.
    resumed: AtomicU64,
    /// The task that runs.
    running: AtomicUsize,
    /// The monitor has found that a task blocks it.
    is_blocked: AtomicBool,
    /// The tasks of requests, at their numbers.
    statuses: Mutex<Vec<Option<Arc<TaskStatus>>>>,
}

/// What other threads have sent to a worker.
#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Job>,
    /// Tasks to resume.
    woken: Vec<TaskId>,
    /// Slots of sockets that were closed.
    closed: Vec<usize>,
}

/// No task runs.
const NONE: TaskId = TaskId::MAX;

impl WorkerHandle {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(WorkerHandle {
            readiness: Readiness::new()?,
            inbox: Mutex::default(),
            is_ending: AtomicBool::new(false),
            is_sleeping: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            resumed: AtomicU64::new(0),
            running: AtomicUsize::new(NONE),
            is_blocked: AtomicBool::new(false),
            statuses: Mutex::default(),
        })
    }

    /// How many requests it has.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// The tasks of its requests.
    pub(super) fn statuses(&self) -> Vec<Arc<TaskStatus>> {
        self.statuses.lock().iter().flatten().cloned().collect()
    }

    /// The tasks of one server. `number` is this worker's.
    pub(crate) fn tasks(&self, server: &ServerHandle, number: usize) -> Vec<TaskInfo> {
        let running = self.running_request();
        let mut statuses = self.statuses();
        statuses.retain(|status| status.server.identity() == server.identity());
        let info = |status: &Arc<TaskStatus>| {
            let is_running = running.as_ref().is_some_and(|it| Arc::ptr_eq(it, status));
            status.info(number, is_running)
        };
        statuses.iter().map(info).collect()
    }

    /// The worker with the lowest load gets the next request: one that is not blocked, with the fewest requests.
    pub(crate) fn load(&self) -> (bool, usize) {
        (self.is_blocked(), self.requests())
    }

    /// Whether a task blocks it.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Takes out the requests that have no task yet.
    pub(super) fn take_jobs(&self) -> VecDeque<Job> {
        let jobs = mem::take(&mut self.inbox.lock().jobs);
        self.requests.fetch_sub(jobs.len(), Ordering::Relaxed);
        // It may have to end.
        self.wake();
        jobs
    }

    pub(crate) fn send_job(&self, job: Job) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inbox.lock().jobs.push_back(job);
        self.wake();
    }

    /// It ends once it has no tasks.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(super) fn send_wake_up(&self, task: TaskId) {
        self.inbox.lock().woken.push(task);
        self.wake();
    }

    /// The worker frees the slot when it is next awake.
    pub(super) fn send_closed(&self, slot: usize) {
        self.inbox.lock().closed.push(slot);
    }

    fn wake(&self) {
        if self.is_sleeping.load(Ordering::SeqCst) && self.is_sleeping.swap(false, Ordering::SeqCst)
        {
            self.readiness.wake();
        }
    }

    /// Whether it waits for events.
    pub(super) fn is_sleeping(&self) -> bool {
        self.is_sleeping.load(Ordering::SeqCst)
    }

    /// How often it has resumed a task.
    pub(super) fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// The task that runs, if it runs a request.
    pub(super) fn running_request(&self) -> Option<Arc<TaskStatus>> {
        let id = self.running.load(Ordering::Relaxed);
        self.statuses.lock().get(id)?.clone()
    }
}

/// For the worker itself.
impl WorkerHandle {
    /// The tasks to resume, and the slots of sockets that were closed.
    pub(super) fn take_news(&self) -> (Vec<TaskId>, Vec<usize>) {
        let mut inbox = self.inbox.lock();
        (mem::take(&mut inbox.woken), mem::take(&mut inbox.closed))
    }

    /// The next request to begin. The others stay here, where another worker can take them.
    pub(super) fn next_job(&self) -> Option<Job> {
        self.inbox.lock().jobs.pop_front()
    }

    /// Returns false if there is something to do. If not, who sends something from here on wakes it.
    pub(super) fn begin_sleep(&self) -> bool {
        self.is_sleeping.store(true, Ordering::SeqCst);
        let inbox = self.inbox.lock();
        let is_over = self.is_ending() && self.requests() == 0;
        inbox.jobs.is_empty() && inbox.woken.is_empty() && !is_over
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    pub(super) fn end_sleep(&self) {
        self.is_sleeping.store(false, Ordering::SeqCst);
    }

    pub(super) fn begin_run(&self, task: TaskId) {
        // Only this thread writes it.
        let resumed = self.resumed.load(Ordering::Relaxed) + 1;
        self.resumed.store(resumed, Ordering::Relaxed);
        self.running.store(task, Ordering::Relaxed);
    }

    pub(super) fn end_run(&self) {
        self.running.store(NONE, Ordering::Relaxed);
    }

    pub(super) fn request_begun(&self, task: TaskId, status: Arc<TaskStatus>) {
        let mut statuses = self.statuses.lock();
        if statuses.len() <= task {
            statuses.resize(task + 1, None);
        }
        statuses[task] = Some(status);
    }

    pub(super) fn request_ended(&self, task: TaskId) {
        self.statuses.lock()[task] = None;
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was refused before it had a task.
    pub(super) fn request_refused(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
