use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::status::{TaskState, TaskStatus};
use crate::sys::coroutine::Coroutine;

pub(super) type TaskId = usize;

/// The tasks of one worker: those that are ready to run, and those that wait.
#[derive(Default)]
pub(super) struct Tasks {
    all: Slab<Task>,
    ready: VecDeque<TaskId>,
    /// At most one for each task.
    timers: BTreeSet<(Instant, TaskId)>,
    /// How many have run since their stack was trimmed.
    untrimmed: usize,
}

#[repr(C)] // In this order: what a switch uses is in few cache lines.
struct Task {
    /// `None` while it runs.
    coroutine: Option<Coroutine>,
    /// When it is made ready, unless something else does before.
    deadline: Option<Instant>,
    /// Its timer. It may be earlier than the deadline: a deadline that is moved does not move it.
    timer: Option<Instant>,
    /// The task of the request: itself, unless it is a part.
    request: TaskId,
    is_ready: bool,
    use_of_stack: UseOfStack,
    /// What it waits for, or has waited for last.
    state: TaskState,
    /// `None` for a part of a request: see [`task::join`](crate::task::join).
    status: Option<Arc<TaskStatus>>,
    /// The servers whose requests it runs.
    servers: Vec<usize>,
}

/// Whether a task's stack may use more memory than it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UseOfStack {
    /// It has run since the last [`trim_stacks`](Tasks::trim_stacks).
    Recent,
    /// It has run before.
    Earlier,
    Trimmed,
}

impl Tasks {
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many are ready.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// When the first timer is due.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Adds the task of a request, which the caller runs at once.
    pub(super) fn insert(&mut self, coroutine: Coroutine, status: Arc<TaskStatus>) -> TaskId {
        let request = self.all.vacant_key();
        self.insert_task(coroutine, Some(status), request, Vec::new())
    }

    /// Adds a task for a part of what another one does. It is ready.
    pub(super) fn insert_part(&mut self, coroutine: Coroutine, of: TaskId) {
        let (request, servers) = (self.all[of].request, self.all[of].servers.clone());
        let id = self.insert_task(coroutine, None, request, servers);
        self.ready.push_back(id);
    }

    fn insert_task(
        &mut self,
        coroutine: Coroutine,
        status: Option<Arc<TaskStatus>>,
        request: TaskId,
        servers: Vec<usize>,
    ) -> TaskId {
        self.all.insert(Task {
            coroutine: Some(coroutine),
            deadline: None,
            timer: None,
            request,
            is_ready: true,
            use_of_stack: UseOfStack::Trimmed,
            state: TaskState::Ready,
            status,
            servers,
        })
    }

    pub(super) fn make_ready(&mut self, id: TaskId) {
        // A task that has ended may be woken still.
        if let Some(task) = self.all.get_mut(id) {
            if !mem::replace(&mut task.is_ready, true) {
                self.ready.push_back(id);
            }
        }
    }

    /// The next task that is ready.
    pub(super) fn next_ready(&mut self) -> Option<TaskId> {
        let next = self.ready.pop_front();
        // The one after it: the memory that it needs is loaded meanwhile.
        let following = self.ready.front().and_then(|id| self.all.get(*id));
        if let Some(coroutine) = following.and_then(|task| task.coroutine.as_ref()) {
            coroutine.prefetch();
        }
        next
    }

    /// Takes out a task to run it. `None` if it has ended, or has run since it was made ready.
    pub(super) fn take(&mut self, id: TaskId) -> Option<Coroutine> {
        let task = self.all.get_mut(id).filter(|task| task.is_ready)?;
        task.is_ready = false;
        task.deadline = None;
        let before = mem::replace(&mut task.use_of_stack, UseOfStack::Recent);
        self.untrimmed += usize::from(before == UseOfStack::Trimmed);
        task.coroutine.take()
    }

    /// A task has been suspended.
    pub(super) fn put_back(&mut self, id: TaskId, coroutine: Coroutine) {
        self.all[id].coroutine = Some(coroutine);
    }

    /// A task has ended.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<Arc<TaskStatus>> {
        let task = self.all.remove(id);
        self.untrimmed -= usize::from(task.use_of_stack != UseOfStack::Trimmed);
        if let Some(at) = task.timer {
            self.timers.remove(&(at, id));
        }
        task.status
    }

    /// The running task is about to be suspended.
    pub(super) fn set_waiting(&mut self, id: TaskId, state: TaskState, deadline: Option<Instant>) {
        let task = &mut self.all[id];
        task.set_state(state);
        task.deadline = deadline;
        let Some(at) = deadline else { return };
        if task.timer.is_none_or(|timer| timer > at) {
            if let Some(later) = task.timer.replace(at) {
                self.timers.remove(&(later, id));
            }
            self.timers.insert((at, id));
        }
    }

    /// Makes tasks ready whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let task = &mut self.all[id];
            task.timer = None;
            match task.deadline {
                Some(deadline) if deadline <= now => self.make_ready(id),
                Some(deadline) => {
                    task.timer = Some(deadline);
                    self.timers.insert((deadline, id));
                }
                None => {}
            }
        }
    }

    /// Whether a call of [`trim_stacks`](Self::trim_stacks) may find something.
    pub(super) fn has_untrimmed(&self) -> bool {
        self.untrimmed > 0
    }

    /// Gives back memory of the stacks of tasks that have not run since the last call: of at most `max`.
    pub(super) fn trim_stacks(&mut self, max: usize) {
        let mut trimmed = 0;
        for (_, task) in &mut self.all {
            match (task.use_of_stack, &mut task.coroutine) {
                (UseOfStack::Recent, _) => task.use_of_stack = UseOfStack::Earlier,
                (UseOfStack::Earlier, Some(coroutine)) if trimmed < max => {
                    trimmed += 1;
                    coroutine.trim();
                    task.use_of_stack = UseOfStack::Trimmed;
                    self.untrimmed -= 1;
                }
                _ => {}
            }
        }
    }

    /// The task of the request of which a task is a part.
    pub(super) fn request(&self, id: TaskId) -> TaskId {
        self.all[id].request
    }

    /// What other threads see of the request of which a task is a part.
    pub(super) fn status(&self, id: TaskId) -> Option<&TaskStatus> {
        self.all[self.request(id)].status.as_deref()
    }

    /// The servers whose requests a task runs.
    pub(super) fn servers(&mut self, id: TaskId) -> &mut Vec<usize> {
        &mut self.all[id].servers
    }
}

impl Task {
    fn set_state(&mut self, state: TaskState) {
        let before = mem::replace(&mut self.state, state);
        if let Some(status) = self.status.as_ref().filter(|_| before != state) {
            status.set_state(state);
        }
    }
}
