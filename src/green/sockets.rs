use std::fmt;
use std::io;
use std::iter::Chain;
use std::mem;
use std::option;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;
use std::vec;

use slab::Slab;

use super::CurrentTask;
use super::handle::WorkerHandle;
use super::status::TaskState;
use super::tasks::TaskId;
use super::worker::{Worker, with_worker};
use crate::sys::coroutine;
use crate::sys::readiness::{FORGETS_CLOSED, REPORTS_END, Ready};

/// What a task waits for at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    /// The next event, also if a read may find something.
    NextEvent,
    Write,
}

/// The sockets of one worker.
#[derive(Default)]
pub(super) struct Sockets(Slab<Slot>);

#[derive(Default)]
struct Slot {
    /// A read may find something.
    is_readable: bool,
    /// A read never has to wait again.
    has_ended: bool,
    readers: Waiting,
    writers: Waiting,
}

impl Slot {
    fn waiting(&mut self, interest: Interest) -> &mut Waiting {
        match interest {
            Interest::Read | Interest::NextEvent => &mut self.readers,
            Interest::Write => &mut self.writers,
        }
    }
}

/// The tasks that wait for the same: seldom more than one.
#[derive(Default)]
struct Waiting {
    first: Option<TaskId>,
    others: Vec<TaskId>,
}

impl Waiting {
    fn add(&mut self, task: TaskId) {
        match self.first {
            None => self.first = Some(task),
            Some(_) => self.others.push(task),
        }
    }

    fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// Returns false if it does not wait any more.
    fn remove(&mut self, task: TaskId) -> bool {
        if self.first.take_if(|first| *first == task).is_some() {
            return true;
        }
        let at = self.others.iter().position(|other| *other == task);
        at.map(|at| self.others.swap_remove(at)).is_some()
    }
}

impl IntoIterator for Waiting {
    type Item = TaskId;
    type IntoIter = Chain<option::IntoIter<TaskId>, vec::IntoIter<TaskId>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

impl Sockets {
    /// Returns the tasks that wait for this.
    pub(super) fn on_ready(&mut self, ready: Ready) -> impl Iterator<Item = TaskId> + use<> {
        // An event of a socket that was closed in the same round finds no slot, or wakes for nothing.
        let tasks = self.0.get_mut(ready.key).map(|slot| {
            slot.is_readable |= ready.readable;
            slot.has_ended |= ready.ended;
            let readers = ready.readable.then(|| slot.readers.take());
            let writers = ready.writable.then(|| slot.writers.take());
            [readers, writers]
        });
        tasks.into_iter().flatten().flatten().flatten()
    }

    pub(super) fn remove(&mut self, slot: usize) {
        self.0.remove(slot);
    }
}

/// A socket's place in a worker. But for [`is_here`](Self::is_here), only for the tasks of this worker.
pub(crate) struct Registration {
    worker: Arc<WorkerHandle>,
    slot: usize,
}

impl Registration {
    /// Registers the socket with the worker of the calling task.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if this descriptor is registered with it.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(_: CurrentTask, socket: &impl AsFd) -> io::Result<Self> {
        with_worker(|worker| {
            let registration = Registration {
                worker: Arc::clone(&worker.handle),
                slot: worker.sockets.borrow_mut().0.insert(Slot::default()),
            };
            let readiness = &worker.handle.readiness;
            readiness.add(socket, registration.slot)?;
            Ok(registration)
        })
    }

    /// Before it is dropped, for a socket that stays open.
    pub(crate) fn delete(&self, socket: &impl AsFd) {
        self.worker.readiness.delete(socket);
    }

    /// The socket is closed after this.
    pub(crate) fn before_close(&self, socket: &impl AsFd) {
        if !FORGETS_CLOSED {
            self.delete(socket);
        }
    }

    /// Whether it is registered with the worker of the calling task.
    pub(crate) fn is_here(&self) -> bool {
        with_worker(|worker| self.is_of(worker))
    }

    fn is_of(&self, worker: &Worker) -> bool {
        Arc::ptr_eq(&self.worker, &worker.handle)
    }

    /// A read has found nothing: there is nothing until the next event.
    pub(crate) fn set_empty(&self) {
        self.with_slot(|slot| (slot.is_readable, slot.has_ended) = (false, false));
    }

    /// A read has received less than it asked for: the next one finds nothing, or the end of the stream.
    pub(crate) fn set_drained(&self) {
        self.with_slot(|slot| slot.is_readable = slot.has_ended || !REPORTS_END);
    }

    fn with_slot(&self, change: impl FnOnce(&mut Slot)) {
        with_worker(|worker| change(&mut worker.sockets.borrow_mut().0[self.slot]));
    }

    /// Whether a read may find something.
    pub(crate) fn may_read(&self) -> bool {
        with_worker(|worker| worker.sockets.borrow().0[self.slot].is_readable)
    }

    /// Suspends the calling task, whose worker it [is of](Self::is_here), until an event of the socket, which a
    /// call before has found not ready. Returns false if the deadline passes before. It may return early.
    #[inline]
    pub(crate) fn wait(&self, interest: Interest, deadline: Option<Instant>) -> bool {
        if !with_worker(|worker| self.begin_wait(worker, interest, deadline)) {
            return true;
        }
        coroutine::suspend();
        let had_event = with_worker(|worker| self.end_wait(worker, interest));
        had_event || deadline.is_none_or(|at| Instant::now() < at)
    }

    /// Returns false if there is no need to wait.
    fn begin_wait(&self, worker: &Worker, interest: Interest, deadline: Option<Instant>) -> bool {
        let task = worker.running_task();
        let slot = &mut worker.sockets.borrow_mut().0[self.slot];
        if interest == Interest::Read && slot.is_readable {
            return false;
        }
        slot.waiting(interest).add(task);
        let state = match interest {
            Interest::Read | Interest::NextEvent => TaskState::Reading,
            Interest::Write => TaskState::Writing,
        };
        worker.set_waiting(state, deadline);
        true
    }

    /// Returns whether an event has come.
    fn end_wait(&self, worker: &Worker, interest: Interest) -> bool {
        let slot = &mut worker.sockets.borrow_mut().0[self.slot];
        !slot.waiting(interest).remove(worker.running_task())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let remove_here = |worker: &Worker| worker.sockets.borrow_mut().remove(self.slot);
        if Worker::with_own(&self.worker, remove_here).is_none() {
            self.worker.send_closed(self.slot);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
