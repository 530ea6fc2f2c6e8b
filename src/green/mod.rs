//! Green tasks: requests that run on coroutines, many on each worker thread.
//!
//! | file | what |
//! |---|---|
//! | `worker` | a thread that runs tasks, round after round: what has arrived, the tasks that are ready, a wait for events |
//! | `tasks` | its tasks, those that are ready, and their timers |
//! | `stacks` | the stacks of tasks that have ended, for new ones |
//! | `sockets` | which task waits for which socket |
//! | `handle` | what other threads have of a worker: its inbox, and its tasks to look at |
//! | `status` | what a list of tasks shows |
//! | `monitor` | finds workers that a handler blocks |
//!
//! Events are taken only while no task runs. So a task that has found a socket empty can say so before it is
//! suspended, and misses nothing. It may be woken for nothing, and then looks again.

mod handle;
mod monitor;
mod sockets;
mod stacks;
mod status;
mod tasks;
mod worker;

use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

pub(crate) use self::handle::WorkerHandle;
pub(crate) use self::monitor::Monitor;
pub(crate) use self::sockets::{Interest, Registration};
pub(crate) use self::stacks::Stacks;
pub use self::status::{TaskInfo, TaskState};
use self::tasks::TaskId;
pub(crate) use self::worker::Worker;
use self::worker::{running_task, with_worker};
use crate::handle::RequestName;
use crate::task::waiter::Waiter;

/// The task that runs on the calling thread, for what suspends it.
#[derive(Clone, Copy)]
pub(crate) struct CurrentTask(());

/// The task that the calling code runs on. `None` on a thread, and while a panic unwinds: another panic on this
/// thread would end the process, so nothing else may run meanwhile.
#[inline]
pub(crate) fn current() -> Option<CurrentTask> {
    (running_task().is_some() && !thread::panicking()).then_some(CurrentTask(()))
}

/// Calls `f` with the servers whose requests the calling task runs, also while it panics. Returns `f` on a thread.
pub(crate) fn with_running_servers<R, F: FnOnce(&mut Vec<usize>) -> R>(f: F) -> Result<R, F> {
    match running_task() {
        Some(task) => Ok(with_worker(|worker| {
            f(worker.tasks.borrow_mut().servers(task))
        })),
        None => Err(f),
    }
}

/// The client of a request that the calling task runs has another address than when it was dispatched.
pub(crate) fn set_client_address(of: &RequestName<'_>) {
    if let Some(task) = running_task() {
        with_worker(|worker| {
            if let Some(status) = worker.tasks.borrow().status(task) {
                status.set_client_address(of);
            }
        });
    }
}

/// The calling code has received or sent so many bytes, and did not have to wait. After many such calls or bytes its
/// task lets others run: a client that floods does not starve them.
#[inline]
pub(crate) fn spend_budget(bytes: usize) {
    if let Some(task) = current().filter(|_| with_worker(|worker| worker.spend_budget(bytes))) {
        task.yield_now();
    }
}

impl CurrentTask {
    /// Lets the other tasks of the worker run.
    pub(crate) fn yield_now(self) {
        with_worker(Worker::yield_now);
    }

    /// Suspends it until the deadline; forever without one.
    pub(crate) fn sleep(self, deadline: Option<Instant>) {
        while deadline.is_none_or(|at| Instant::now() < at) {
            with_worker(|worker| worker.suspend(TaskState::Sleeping, deadline));
        }
    }

    /// A buffer for as long as there is data in it. Its content has no meaning.
    pub(crate) fn lend_buffer(self) -> Vec<u8> {
        with_worker(Worker::lend_buffer)
    }

    /// Takes it back, for other tasks of the worker.
    pub(crate) fn give_back_buffer(self, buffer: Vec<u8>) {
        with_worker(|worker| worker.give_back_buffer(buffer));
    }

    pub(crate) fn handle(self) -> TaskHandle {
        with_worker(|worker| TaskHandle {
            worker: Arc::clone(&worker.handle),
            task: worker.running_task(),
        })
    }

    /// Runs both, the second as another task of the same worker.
    #[allow(unsafe_code)]
    pub(crate) fn join<A, B>(
        self,
        first: impl FnOnce() -> A,
        second: impl FnOnce() -> B,
    ) -> io::Result<(A, B)> {
        let result = Cell::new(None);
        let caller = Waiter::current();
        let run = || {
            result.set(Some(panic::catch_unwind(AssertUnwindSafe(second))));
            caller.wake();
        };
        // SAFETY: this function waits for its end, whatever happens. If the worker never resumes it again, the
        // stack that this task has lent it is not freed either.
        with_worker(|worker| unsafe { worker.spawn_part(Box::new(run)) })?;
        let first = panic::catch_unwind(AssertUnwindSafe(first));
        caller.wait(None);
        let second = result.take().expect("the task has ended");
        let unwind = |panicked| -> ! { panic::resume_unwind(panicked) };
        let first = first.unwrap_or_else(|panicked| unwind(panicked));
        Ok((first, second.unwrap_or_else(|panicked| unwind(panicked))))
    }
}

/// Wakes a task.
pub(crate) struct TaskHandle {
    worker: Arc<WorkerHandle>,
    task: TaskId,
}

impl TaskHandle {
    /// Suspends the task, which is the calling one, until it is woken, or the deadline. It may return early.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        with_worker(|worker| worker.suspend(TaskState::Waiting, deadline));
    }

    /// May be called on any thread, and when the task has ended.
    pub(crate) fn wake(&self) {
        let wake_here = |worker: &Worker| worker.tasks.borrow_mut().make_ready(self.task);
        if Worker::with_own(&self.worker, wake_here).is_none() {
            self.worker.send_wake_up(self.task);
        }
    }
}
