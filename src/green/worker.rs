use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::WorkerHandle;
use super::monitor::Monitor;
use super::sockets::Sockets;
use super::stacks::Stacks;
use super::status::{TaskState, TaskStatus};
use super::tasks::{TaskId, Tasks};
use crate::dispatch::Job;
use crate::error::SystemError;
use crate::sys::coroutine::{self, Coroutine};
use crate::sys::readiness::{Events, Readiness};
use crate::sys::stack::report_overflows;

/// After so many calls that did not have to wait, a task lets the others of its worker run. So many bytes count as one
/// more call: they are work for the handler.
const BUDGET: usize = 64;
const BYTES_PER_CALL: usize = 4096;

/// Between two looks for stacks that use more memory than they need, and how many are trimmed at once.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
const MAX_TRIMMED: usize = 10_000;

/// How many new requests begin in one round.
const MAX_NEW: usize = 64;

/// How many buffers are kept, and how long each may be.
const MAX_BUFFERS: usize = 16;
const MAX_BUFFER_SIZE: usize = 64 << 10;

thread_local! {
    /// The worker whose thread this is.
    static WORKER: OnceCell<Worker> = const { OnceCell::new() };
    /// The task that runs on this thread.
    static TASK: Cell<Option<TaskId>> = const { Cell::new(None) };
}

/// The worker of the calling task.
pub(super) fn with_worker<R>(f: impl FnOnce(&Worker) -> R) -> R {
    WORKER.with(|worker| f(worker.get().expect("a task runs on a worker")))
}

/// The task that runs on the calling thread.
#[inline]
pub(super) fn running_task() -> Option<TaskId> {
    TASK.get()
}

/// A thread and its tasks. Other threads have its [`WorkerHandle`].
pub(crate) struct Worker {
    pub(super) handle: Arc<WorkerHandle>,
    pub(super) tasks: RefCell<Tasks>,
    pub(super) sockets: RefCell<Sockets>,
    stacks: Arc<Stacks>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// How often the running task may still receive or send before others run.
    budget: Cell<usize>,
    /// When to trim stacks next, if there may be something to trim.
    trim_at: Cell<Option<Instant>>,
    monitor: Arc<Monitor>,
}

impl Worker {
    /// Runs jobs on the calling thread, until the handle [ends](WorkerHandle::end) it. Calls `job_ended` with
    /// the server of each.
    pub(crate) fn run(
        handle: Arc<WorkerHandle>,
        stacks: Arc<Stacks>,
        monitor: Arc<Monitor>,
        mut job_ended: impl FnMut(usize),
    ) {
        report_overflows();
        let worker = Worker {
            handle,
            tasks: RefCell::default(),
            sockets: RefCell::default(),
            stacks,
            buffers: RefCell::default(),
            budget: Cell::new(0),
            trim_at: Cell::new(None),
            monitor,
        };
        WORKER.with(|current| {
            let worker = current.get_or_init(|| worker);
            let mut events = Readiness::events();
            while worker.run_round(&mut job_ended) {
                worker.wait(&mut events);
            }
        });
    }

    /// The worker whose thread this is, if it is one's.
    pub(super) fn with<R>(f: impl FnOnce(&Worker) -> R) -> Option<R> {
        // Fails while the thread ends.
        WORKER.try_with(|worker| worker.get().map(f)).ok().flatten()
    }

    /// Calls `f` if this thread is the handle's worker.
    pub(super) fn with_own<R>(
        handle: &Arc<WorkerHandle>,
        f: impl FnOnce(&Worker) -> R,
    ) -> Option<R> {
        let is_own = |worker: &Worker| Arc::ptr_eq(&worker.handle, handle);
        Worker::with(|worker| is_own(worker).then(|| f(worker))).flatten()
    }

    /// Takes what has arrived, and runs each task that is ready once. Returns false at the end.
    fn run_round(&self, job_ended: &mut impl FnMut(usize)) -> bool {
        self.monitor.start();
        let (woken, closed) = self.handle.take_news();
        for slot in closed {
            self.sockets.borrow_mut().remove(slot);
        }
        for id in woken {
            self.tasks.borrow_mut().make_ready(id);
        }
        let ready = self.tasks.borrow().ready_count();
        for _ in 0..ready {
            let next = self.tasks.borrow_mut().next_ready();
            self.resume(next, job_ended);
        }
        for _ in 0..MAX_NEW {
            let Some(job) = self.handle.next_job() else {
                break;
            };
            // At once: if it ends without a wait, the next one gets its stack.
            let task = self.spawn(job, job_ended);
            self.resume(task, job_ended);
        }
        !(self.handle.is_ending() && self.handle.requests() == 0)
    }

    /// Waits for events, or only takes those that are there if a task is ready.
    fn wait(&self, events: &mut Events) {
        let timeout = if self.tasks.borrow().has_ready() || !self.handle.begin_sleep() {
            Some(Duration::ZERO)
        } else {
            let next = self.next_timer();
            next.map(|at| at.saturating_duration_since(Instant::now()))
        };
        let waited = self.handle.readiness.wait(events, timeout, |ready| {
            for id in self.sockets.borrow_mut().on_ready(ready) {
                self.tasks.borrow_mut().make_ready(id);
            }
        });
        self.handle.end_sleep();
        waited.expect("the descriptor is open");
        if self.next_timer().is_some() {
            let now = Instant::now();
            self.tasks.borrow_mut().expire(now);
            self.trim_stacks(now);
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let next = self.tasks.borrow().next_timer();
        next.into_iter().chain(self.trim_at.get()).min()
    }

    /// Gives memory back that stacks have used and do not need, if it is time to.
    fn trim_stacks(&self, now: Instant) {
        if self.trim_at.get().is_none_or(|at| now < at) {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        tasks.trim_stacks(MAX_TRIMMED);
        let is_more_left = self.stacks.trim() || tasks.has_untrimmed();
        self.trim_at.set(is_more_left.then(|| now + TRIM_INTERVAL));
    }

    /// Makes a task for a request. Returns it, unless there is no stack for it.
    fn spawn(&self, job: Job, job_ended: &mut impl FnMut(usize)) -> Option<TaskId> {
        let stack = match self.stacks.take() {
            Ok(stack) => stack,
            Err(error) => {
                self.handle.request_refused();
                let server = job.server().identity();
                let message = format!("no stack for a task: {error}");
                job.refuse(SystemError::describe(&error, message));
                job_ended(server);
                return None;
            }
        };
        let status = Arc::new(TaskStatus::new(&job));
        let coroutine = Coroutine::new(stack, move || job.run());
        let id = self
            .tasks
            .borrow_mut()
            .insert(coroutine, Arc::clone(&status));
        self.handle.request_begun(id, status);
        Some(id)
    }

    /// A task for a part of what the running task does.
    ///
    /// # Safety
    ///
    /// `run` has ended, or can never go on, before what it borrows is gone.
    #[allow(unsafe_code)] // The caller promises.
    pub(super) unsafe fn spawn_part(&self, run: Box<dyn FnOnce() + '_>) -> io::Result<()> {
        let stack = self.stacks.take()?;
        // SAFETY: as the caller promises.
        let coroutine = unsafe { Coroutine::borrowing(stack, run) };
        let mut tasks = self.tasks.borrow_mut();
        tasks.insert_part(coroutine, self.running_task());
        Ok(())
    }

    /// Runs a task until it is suspended or ends.
    fn resume(&self, task: Option<TaskId>, job_ended: &mut impl FnMut(usize)) {
        let taken = task.and_then(|id| self.tasks.borrow_mut().take(id));
        let (Some(id), Some(mut coroutine)) = (task, taken) else {
            return;
        };
        self.begin_run(id);
        let ended = coroutine.resume();
        TASK.set(None);
        self.handle.end_run();
        let mut tasks = self.tasks.borrow_mut();
        let Some(stack) = ended else {
            return tasks.put_back(id, coroutine);
        };
        let ended = tasks.remove(id);
        drop(tasks);
        self.stacks.give_back(stack);
        if let Some(status) = ended {
            self.handle.request_ended(id);
            job_ended(status.server.identity());
        }
    }

    fn begin_run(&self, id: TaskId) {
        self.budget.set(BUDGET);
        if self.trim_at.get().is_none() {
            self.trim_at.set(Some(Instant::now() + TRIM_INTERVAL));
        }
        self.handle.begin_run(self.tasks.borrow().request(id));
        TASK.set(Some(id));
    }

    /// The task that runs.
    pub(super) fn running_task(&self) -> TaskId {
        running_task().expect("a task runs")
    }

    /// Suspends the running task until it is made ready, or the deadline.
    pub(super) fn suspend(&self, state: TaskState, deadline: Option<Instant>) {
        self.set_waiting(state, deadline);
        coroutine::suspend();
    }

    /// The running task is suspended at once after this, until it is made ready, or the deadline.
    pub(super) fn set_waiting(&self, state: TaskState, deadline: Option<Instant>) {
        let id = self.running_task();
        self.tasks.borrow_mut().set_waiting(id, state, deadline);
    }

    /// Lets the other tasks run.
    pub(super) fn yield_now(&self) {
        self.tasks.borrow_mut().make_ready(self.running_task());
        self.suspend(TaskState::Ready, None);
    }

    /// The running task has received or sent without a wait. Returns whether it has used up its budget.
    pub(super) fn spend_budget(&self, bytes: usize) -> bool {
        let spent = 1 + bytes / BYTES_PER_CALL;
        self.budget.set(self.budget.get().saturating_sub(spent));
        self.budget.get() == 0
    }

    pub(super) fn lend_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < MAX_BUFFERS && buffer.capacity() <= MAX_BUFFER_SIZE {
            buffers.push(buffer);
        }
    }
}
