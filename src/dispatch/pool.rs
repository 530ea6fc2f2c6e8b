use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::worker::{Roster, State, Worker, hand};
use super::{Dispatch, Job, ThreadGauge, Waker};
use crate::sync::thread;

/// Runs requests side by side on threads that are started on demand, used again, and let go when
/// idle.
///
/// Python's `ThreadingMixIn`, with a bound. At the bound new clients wait in the kernel's queue until
/// a thread is free, unless the server has another [`OverloadPolicy`](crate::OverloadPolicy) policy. The thread
/// that became idle last is used first, so the pool shrinks to what the load needs.
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
    roster: Arc<Roster>,
}

#[derive(Clone, Debug)]
struct Settings {
    thread_keep_alive: Duration,
    stack_size: Option<usize>,
    thread_name: String,
}

impl ThreadPool {
    /// The default bound: 4,096 threads.
    pub const DEFAULT_MAX_THREADS: usize = 4096;

    /// A pool with the default settings and no threads yet.
    pub fn new() -> Self {
        let settings = Settings {
            thread_keep_alive: Duration::from_secs(10),
            stack_size: None,
            thread_name: "handler".to_owned(),
        };
        ThreadPool {
            settings,
            roster: Arc::new(Roster::new(Self::DEFAULT_MAX_THREADS)),
        }
    }

    /// The most threads at once, and so the most requests; 0 counts as 1. Default
    /// [`DEFAULT_MAX_THREADS`](Self::DEFAULT_MAX_THREADS).
    pub fn max_threads(self, threads: usize) -> Self {
        self.roster.gauge.set_limit(threads);
        self
    }

    /// How long an idle thread waits for work before it ends. Default 10 s.
    pub fn thread_keep_alive(mut self, time: Duration) -> Self {
        self.settings.thread_keep_alive = time;
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
        self.roster.gauge.threads()
    }

    /// Whether fewer than `most` jobs run or wait to. If not, the next that ends wakes the server.
    pub(crate) fn has_fewer_than(&self, most: usize, waker: &Waker) -> bool {
        let mut state = self.roster.lock();
        if state.unfinished < most {
            return true;
        }
        if !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        false
    }

    /// Starts a thread with its first job in its letter box; gives the job back if it cannot. The
    /// roster stays locked, so that the thread cannot leave before it is entered.
    fn start_worker(&self, state: &mut State, job: Job) -> Result<(), (Job, io::Error)> {
        let mut builder = thread::Builder::new().name(format!(
            "{}-{}",
            self.settings.thread_name, state.next_worker
        ));
        if let Some(bytes) = self.settings.stack_size {
            builder = builder.stack_size(bytes);
        }
        let (worker, mailbox) = Worker::new(state.next_worker, self.settings.thread_keep_alive);
        let roster = Arc::clone(&self.roster);
        match builder.spawn(move || worker.work(&roster)) {
            Ok(thread) => {
                state.threads.insert(state.next_worker, Some(thread));
                self.roster.gauge.set_threads(state.threads.len());
                state.next_worker += 1;
                hand(&mailbox, Some(job));
                Ok(())
            }
            Err(error) => Err((job, error)),
        }
    }
}

impl Dispatch for ThreadPool {
    fn dispatch(&self, job: Job) {
        let mut state = self.roster.lock();
        state.unfinished += 1;
        if let Some(idle) = state.idle.pop() {
            drop(state);
            return hand(&idle.mailbox, Some(job));
        }
        if state.threads.len() >= self.roster.gauge.limit() {
            return state.queue.push_back(job);
        }
        if let Err((job, error)) = self.start_worker(&mut state, job) {
            state.unfinished -= 1;
            let threads = state.threads.len();
            drop(state);
            let message = format!("cannot start a thread beside the {threads} there are: {error}");
            job.refuse(io::Error::new(error.kind(), message));
        }
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        self.has_fewer_than(self.roster.gauge.limit(), waker)
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        Some(self.roster.gauge.clone())
    }

    /// Lets idle threads go, and waits for the others to finish their requests and end.
    fn join(&self) {
        for thread in self.roster.close() {
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
        self.roster.close();
    }
}
