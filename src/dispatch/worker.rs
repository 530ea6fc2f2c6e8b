use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use super::{Job, ThreadGauge, Waker};
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use crate::sync::thread::JoinHandle;
use crate::sync::{Mutex, MutexGuard};

/// The threads of one pool, idle and busy, and the jobs between them.
pub(super) struct Roster {
    state: Mutex<State>,
    pub(super) gauge: ThreadGauge,
}

#[derive(Default)]
pub(super) struct State {
    /// The one that became idle last is at the end.
    pub(super) idle: Vec<Idle>,
    /// Jobs beyond the bound, from servers that dispatch without asking for room.
    pub(super) queue: VecDeque<Job>,
    /// Jobs running, queued or handed over.
    pub(super) unfinished: usize,
    /// All that have not ended; without a handle where somebody else joins them.
    pub(super) threads: HashMap<u64, Option<JoinHandle<()>>>,
    pub(super) next_worker: u64,
    /// The servers that wait for room; several may share a pool.
    pub(super) waiting: Vec<Waker>,
    closed: bool,
}

/// What a worker does after a job.
enum Next {
    Run(Job),
    Wait,
    End,
}

impl Roster {
    pub(super) fn new(bound: usize) -> Self {
        Roster {
            state: Mutex::default(),
            gauge: ThreadGauge::new(bound),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Sends idle threads home, and returns all that are there, to be joined. The busy ones leave the
    /// list as they end.
    pub(super) fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state.lock();
        state.closed = true;
        let State { idle, threads, .. } = &mut *state;
        let mut there: Vec<_> = threads.values_mut().filter_map(Option::take).collect();
        for idle in idle.drain(..) {
            hand(&idle.mailbox, None);
            there.extend(threads.remove(&idle.id).flatten());
        }
        self.gauge.set_threads(threads.len());
        there
    }

    fn finished_one(&self, worker: &Worker) -> Next {
        let mut state = self.state.lock();
        state.unfinished -= 1;
        let wakers = std::mem::take(&mut state.waiting);
        let too_many = state.threads.len() > self.gauge.limit();
        let next = match state.queue.pop_front() {
            Some(job) => Next::Run(job),
            None if state.closed || too_many => {
                self.dismiss(&mut state, worker.id);
                Next::End
            }
            None => {
                state.idle.push(Idle {
                    id: worker.id,
                    mailbox: worker.mailbox.clone(),
                });
                Next::Wait
            }
        };
        drop(state);
        wakers.iter().for_each(Waker::wake);
        next
    }

    fn dismiss(&self, state: &mut State, id: u64) {
        state.threads.remove(&id);
        self.gauge.set_threads(state.threads.len());
    }

    /// Takes a worker that has waited long enough off the list; false if a job is on its way to it.
    fn retire(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.idle.iter().position(|idle| idle.id == id) else {
            return false;
        };
        state.idle.remove(at);
        self.dismiss(&mut state, id);
        true
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Roster")
            .field("threads", &state.threads.len())
            .field("idle", &state.idle.len())
            .field("unfinished", &state.unfinished)
            .finish_non_exhaustive()
    }
}

/// A worker on the list: whoever takes it off may put one letter into its empty box.
pub(super) struct Idle {
    id: u64,
    pub(super) mailbox: Sender<Letter>,
}

/// A job, or the word to go home.
pub(super) type Letter = Option<Job>;

pub(super) fn hand(mailbox: &Sender<Letter>, letter: Letter) {
    // The worker holds both ends of its box, and leaves only when it is off the list with nothing
    // on its way.
    mailbox
        .try_send(letter)
        .expect("the box of an idle worker is empty and open");
}

/// One thread of the pool.
pub(super) struct Worker {
    id: u64,
    letters: Receiver<Letter>,
    mailbox: Sender<Letter>,
    thread_keep_alive: Duration,
}

impl Worker {
    pub(super) fn new(id: u64, thread_keep_alive: Duration) -> (Self, Sender<Letter>) {
        let (mailbox, letters) = bounded(1);
        (
            Worker {
                id,
                letters,
                mailbox: mailbox.clone(),
                thread_keep_alive,
            },
            mailbox,
        )
    }

    pub(super) fn work(self, roster: &Roster) {
        loop {
            match self.letters.recv_timeout(self.thread_keep_alive) {
                Ok(Some(job)) => {
                    if !self.run(job, roster) {
                        return;
                    }
                }
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    if roster.retire(self.id) {
                        return;
                    }
                }
            }
        }
    }

    /// Runs the job and those that are queued; false when the worker is to end.
    fn run(&self, mut job: Job, roster: &Roster) -> bool {
        loop {
            job.run();
            match roster.finished_one(self) {
                Next::Run(next) => job = next,
                Next::Wait => return true,
                Next::End => return false,
            }
        }
    }
}
