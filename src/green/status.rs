use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::dispatch::Job;
use crate::handle::RequestName;
use crate::{Address, ServerHandle};

/// A request that a [green](crate::dispatch::Green) task runs: see [`ServerHandle::tasks`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The request's number, as in the log.
    pub id: u64,
    /// Its client.
    pub client_address: Address,
    /// How long ago the request was dispatched.
    pub age: Duration,
    /// What it does.
    pub state: TaskState,
    /// The number of its worker, from 0.
    pub worker: usize,
}

/// What a [task](TaskInfo) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// It is about to run: it is new, or has let others run.
    Ready,
    /// It runs. Only one task of a worker does.
    Running,
    /// It waits for data from its client, or from another socket.
    Reading,
    /// It waits until a socket takes more data.
    Writing,
    /// It waits for a time: in [`task::sleep`](crate::task::sleep), or before it sends a datagram again.
    Sleeping,
    /// It waits for something else in [`task`](crate::task): a lock, a channel, a blocking call.
    Waiting,
}

/// In lower case.
impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TaskState::Ready => "ready",
            TaskState::Running => "running",
            TaskState::Reading => "reading",
            TaskState::Writing => "writing",
            TaskState::Sleeping => "sleeping",
            TaskState::Waiting => "waiting",
        })
    }
}

/// What other threads see of a task.
pub(crate) struct TaskStatus {
    pub(super) server: ServerHandle,
    id: u64,
    client_address: Mutex<Address>,
    dispatched_at: Instant,
    state: AtomicU8,
}

impl TaskStatus {
    pub(super) fn new(job: &Job) -> Self {
        TaskStatus {
            server: job.server().clone(),
            id: job.id(),
            client_address: Mutex::new(job.client_address().clone()),
            dispatched_at: Instant::now(),
            state: AtomicU8::new(TaskState::Ready as u8),
        }
    }

    /// What it does when it does not run.
    pub(super) fn set_state(&self, state: TaskState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> TaskState {
        const STATES: [TaskState; 6] = [
            TaskState::Ready,
            TaskState::Running,
            TaskState::Reading,
            TaskState::Writing,
            TaskState::Sleeping,
            TaskState::Waiting,
        ];
        STATES[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// The client's address became known only now.
    pub(super) fn set_client_address(&self, of: &RequestName<'_>) {
        // A handler may serve another server on its own task.
        if self.id == of.id && self.server.is(of.server) {
            *self.client_address.lock() = of.client_address.clone();
        }
    }

    pub(super) fn dispatched_at(&self) -> Instant {
        self.dispatched_at
    }

    pub(super) fn info(&self, worker: usize, is_running: bool) -> TaskInfo {
        TaskInfo {
            id: self.id,
            client_address: self.client_address.lock().clone(),
            age: self.dispatched_at.elapsed(),
            state: if is_running {
                TaskState::Running
            } else {
                self.state()
            },
            worker,
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = RequestName {
            server: &self.server,
            id: self.id,
            client_address: &self.client_address.lock(),
        };
        name.fmt(f)
    }
}
