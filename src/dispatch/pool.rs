use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::{Dispatch, Job, Waker};

/// Runs requests side by side on threads that are started on demand, used again, and let go when
/// idle.
///
/// Python's `ThreadingMixIn`, with a bound. At the bound nothing more is accepted until a thread is
/// free; the log says so once. The thread that became idle last is used first, so the pool shrinks
/// to what the load needs.
///
/// Servers set it up through their builder; for a server of your own kind:
///
/// ```
/// use socketserver::dispatch::ThreadPool;
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let pool = ThreadPool::new().max_threads(16).thread_name("echo");
/// let server = TcpServer::builder().dispatch(pool).bind_fn("127.0.0.1:0", |_| Ok(()))?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ThreadPool {
    settings: Settings,
    shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
struct Settings {
    max_threads: usize,
    idle_time: Duration,
    stack_size: Option<usize>,
    thread_name: String,
}

impl ThreadPool {
    /// The default bound: 4,096 threads.
    pub const DEFAULT_MAX_THREADS: usize = 4096;

    /// A pool with the default settings and no threads yet.
    pub fn new() -> Self {
        let settings = Settings {
            max_threads: Self::DEFAULT_MAX_THREADS,
            idle_time: Duration::from_secs(10),
            stack_size: None,
            thread_name: "handler".to_owned(),
        };
        ThreadPool {
            settings,
            shared: Arc::default(),
        }
    }

    /// The most threads at once, and so the most requests; 0 counts as 1. Default
    /// [`DEFAULT_MAX_THREADS`](Self::DEFAULT_MAX_THREADS).
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.settings.max_threads = threads.max(1);
        self
    }

    /// How long an idle thread waits for work before it ends. Default 10 s.
    pub fn idle_time(mut self, time: Duration) -> Self {
        self.settings.idle_time = time;
        self
    }

    /// Each thread's stack, in bytes. Default: Rust's own, 2 MiB or `RUST_MIN_STACK`. Only what is
    /// used takes memory.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// What the threads are called; each name gets `-` and a number. Default `handler`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.settings.thread_name = name.into();
        self
    }

    /// How many threads there are now, busy or idle.
    pub fn threads(&self) -> usize {
        self.shared.0.lock().threads.len()
    }

    /// Starts a thread and returns its letter box. The lock is held, so that it cannot end before
    /// it is entered.
    fn start_worker(&self, state: &mut State) -> io::Result<Sender<Letter>> {
        let (mailbox, letters) = bounded(1);
        let id = state.next_worker;
        let mut builder =
            thread::Builder::new().name(format!("{}-{id}", self.settings.thread_name));
        if let Some(bytes) = self.settings.stack_size {
            builder = builder.stack_size(bytes);
        }
        let worker = Worker {
            id,
            letters,
            mailbox: mailbox.clone(),
            idle_time: self.settings.idle_time,
        };
        let shared = Arc::clone(&self.shared);
        state
            .threads
            .insert(id, builder.spawn(move || worker.work(&shared))?);
        state.next_worker += 1;
        Ok(mailbox)
    }
}

impl Dispatch for ThreadPool {
    fn dispatch(&self, job: Job) {
        let mut state = self.shared.0.lock();
        state.unfinished += 1;
        if let Some(idle) = state.idle.pop() {
            drop(state);
            return hand(&idle.mailbox, Some(job));
        }
        if state.threads.len() >= self.settings.max_threads {
            return state.queue.push_back(job);
        }
        match self.start_worker(&mut state) {
            Ok(mailbox) => {
                drop(state);
                hand(&mailbox, Some(job));
            }
            Err(error) => {
                state.unfinished -= 1;
                let threads = state.threads.len();
                drop(state);
                let message =
                    format!("cannot start a thread beside the {threads} there are: {error}");
                job.refuse(io::Error::new(error.kind(), message));
            }
        }
    }

    fn has_room(&self, waker: &Waker) -> bool {
        let most = self.settings.max_threads;
        let mut state = self.shared.0.lock();
        if state.unfinished < most {
            return true;
        }
        state.waiting = Some(waker.clone());
        if !state.said_full {
            state.said_full = true;
            log::warn!(
                target: "socketserver::dispatch",
                "all {most} threads are busy: new clients wait until one is free (max_threads sets the bound)"
            );
        }
        false
    }

    /// Lets idle threads go, and waits for the others to finish their requests and end.
    fn join(&self) {
        for (_, thread) in self.shared.close() {
            if thread.thread().id() != thread::current().id() {
                // A worker catches what its jobs throw; there is nothing to learn here.
                let _ = thread.join();
            }
        }
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        ThreadPool::new()
    }
}

/// Busy threads finish their requests and end by themselves.
impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    /// The one that became idle last is at the end.
    idle: Vec<Idle>,
    /// Jobs beyond the bound, from servers that dispatch without asking for room.
    queue: VecDeque<Job>,
    /// Jobs running, queued or handed over.
    unfinished: usize,
    threads: HashMap<u64, JoinHandle<()>>,
    next_worker: u64,
    /// A server that waits for room.
    waiting: Option<Waker>,
    said_full: bool,
    closed: bool,
}

/// What a worker does after a job.
enum Next {
    Run(Job),
    Wait,
    End,
}

impl Shared {
    fn close(&self) -> HashMap<u64, JoinHandle<()>> {
        let mut state = self.0.lock();
        state.closed = true;
        for idle in state.idle.drain(..) {
            hand(&idle.mailbox, None);
        }
        std::mem::take(&mut state.threads)
    }

    fn finished_one(&self, worker: &Worker) -> Next {
        let mut state = self.0.lock();
        state.unfinished -= 1;
        let waker = state.waiting.take();
        let next = match state.queue.pop_front() {
            Some(job) => Next::Run(job),
            None if state.closed => Next::End,
            None => {
                state.idle.push(Idle {
                    id: worker.id,
                    mailbox: worker.mailbox.clone(),
                });
                Next::Wait
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        next
    }

    /// Takes a worker that has waited long enough off the list; false if a job is on its way to it.
    fn retire(&self, id: u64) -> bool {
        let mut state = self.0.lock();
        let Some(at) = state.idle.iter().position(|idle| idle.id == id) else {
            return false;
        };
        state.idle.remove(at);
        state.threads.remove(&id);
        true
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Shared")
            .field("threads", &state.threads.len())
            .field("idle", &state.idle.len())
            .field("unfinished", &state.unfinished)
            .finish_non_exhaustive()
    }
}

/// A worker on the list: whoever takes it off may put one letter into its empty box.
struct Idle {
    id: u64,
    mailbox: Sender<Letter>,
}

/// A job, or the word to go home.
type Letter = Option<Job>;

fn hand(mailbox: &Sender<Letter>, letter: Letter) {
    // The worker holds both ends of its box, and leaves only when it is off the list with nothing
    // on its way.
    mailbox
        .try_send(letter)
        .expect("the box of an idle worker is empty and open");
}

/// One thread of the pool.
struct Worker {
    id: u64,
    letters: Receiver<Letter>,
    mailbox: Sender<Letter>,
    idle_time: Duration,
}

impl Worker {
    fn work(self, shared: &Shared) {
        loop {
            match self.letters.recv_timeout(self.idle_time) {
                Ok(Some(job)) => {
                    if !self.run(job, shared) {
                        return;
                    }
                }
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    if shared.retire(self.id) {
                        return;
                    }
                }
            }
        }
    }

    /// Runs the job and those that are queued; false when the worker is to end.
    fn run(&self, mut job: Job, shared: &Shared) -> bool {
        loop {
            job.run();
            match shared.finished_one(self) {
                Next::Run(next) => job = next,
                Next::Wait => return true,
                Next::End => return false,
            }
        }
    }
}
