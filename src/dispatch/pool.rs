use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::unfinished::Unfinished;
use super::{Dispatch, Job, ThreadGauge, Waker};
use crate::ServerHandle;
use crate::error::{SystemError, catch};
use crate::sync::channel::{Receiver, Sender, bounded};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};

/// Runs requests concurrently on threads. Threads are started on demand, used again, and end when they
/// are idle for a while.
///
/// Python's `ThreadingMixIn`, with a limit, at which [`OverloadPolicy`](crate::OverloadPolicy) applies to
/// new clients. The thread that became idle last is used first, so the pool shrinks to the necessary size.
///
/// A server's builder configures it, and [`Builder::dispatch`](crate::Builder::dispatch) takes one.
///
/// Several servers share one in an [`Arc`]. The limit of threads then holds for all of them, so a server whose
/// clients take all threads keeps the clients of the others waiting;
/// [`max_connections`](crate::Builder::max_connections) of each server prevents that. If several servers
/// accept a client for the last thread at once, one of the clients waits for it. A server that stops waits
/// for its own requests only. The last owner to be dropped ends the idle threads and waits for them; threads
/// that still run a request end after it.
///
/// ```
/// use std::sync::Arc;
///
/// use socketserver::dispatch::ThreadPool;
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let pool = Arc::new(ThreadPool::new().max_threads(100));
/// let bind = |address| {
///     let builder = ThreadingTcpServer::builder().dispatch(Arc::clone(&pool));
///     builder.bind_fn(address, |request| Ok(request.wfile.write_all(b"hello")?))
/// };
/// let first = bind("127.0.0.1:0")?.serve_in_background()?;
/// let second = bind("127.0.0.1:0")?.serve_in_background()?;
/// first.stop()?;
/// second.stop()
/// # }
/// ```
pub struct ThreadPool {
    shared: Arc<Shared>,
    keep_alive: Duration,
    stack_size: Option<usize>,
    thread_name: String,
}

impl ThreadPool {
    /// The default limit: 4,096 threads.
    pub const DEFAULT_MAX_THREADS: usize = 4096;

    /// A pool with the default settings and no threads yet.
    pub fn new() -> Self {
        ThreadPool {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                job_ended: Condvar::new(),
                gauge: ThreadGauge::new(Self::DEFAULT_MAX_THREADS),
            }),
            keep_alive: Duration::from_secs(10),
            stack_size: None,
            thread_name: "handler".to_owned(),
        }
    }

    /// See [`Builder::max_threads`](crate::Builder::max_threads).
    pub fn max_threads(self, threads: usize) -> Self {
        self.shared.gauge.set_limit(threads);
        self
    }

    /// See [`Builder::thread_keep_alive`](crate::Builder::thread_keep_alive).
    pub fn thread_keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = time;
        self
    }

    /// See [`Builder::stack_size`](crate::Builder::stack_size).
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// See [`Builder::thread_name`](crate::Builder::thread_name).
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// How many threads there are, busy or idle.
    pub fn threads(&self) -> usize {
        self.shared.gauge.threads()
    }

    /// Whether fewer than `limit` jobs are unfinished. If not, the next one that ends wakes the server.
    pub(crate) fn has_fewer_than(&self, limit: usize, waker: &Waker) -> bool {
        let mut state = self.shared.state.lock();
        state.unfinished.are_fewer_than(limit, waker)
    }

    /// Waits until no more than `own` jobs of a server are unfinished: those of the calling thread.
    pub(super) fn wait_for(&self, server: usize, own: usize) {
        let mut state = self.shared.state.lock();
        while state.unfinished.of(server) > own {
            self.shared.job_ended.wait(&mut state);
        }
    }

    /// Starts a thread for the queue.
    fn start_worker(&self, state: &mut State) -> io::Result<()> {
        let id = state.next_worker;
        let mut builder = thread::Builder::new().name(format!("{}-{id}", self.thread_name));
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let (waker, woken) = bounded(1);
        let worker = Worker {
            idle: IdleWorker { id, waker },
            woken,
            keep_alive: self.keep_alive,
            shared: Arc::clone(&self.shared),
        };
        let idle = worker.idle.clone();
        // The standard library panics for a name with a NUL byte.
        let spawned = catch(|| builder.spawn(move || worker.work()));
        let thread = spawned.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))?;
        // The state is still locked, so the thread has not looked at it yet.
        state.threads.insert(id, thread);
        state.idle.push(idle);
        state.waking.get_or_insert(id);
        self.shared.gauge.set_threads(state.threads.len());
        state.next_worker += 1;
        Ok(())
    }
}

impl Dispatch for ThreadPool {
    fn dispatch(&self, job: Job) {
        let server = job.0.server_identity();
        let mut state = self.shared.state.lock();
        state.unfinished.add(server);
        // Each queued job has an idle thread that will run it, unless there are as many threads as may be.
        let has_idle = state.queue.len() < state.idle.len();
        state.queue.push_back(job);
        if has_idle || state.threads.len() >= self.shared.gauge.limit() {
            let waker = state.next_to_wake();
            drop(state);
            return wake(waker);
        }
        if let Err(error) = self.start_worker(&mut state) {
            let job = state.queue.pop_back();
            let wakers = state.unfinished.remove(server);
            let threads = state.threads.len();
            drop(state);
            wakers.iter().for_each(Waker::wake);
            let message = format!("cannot start a thread in addition to {threads}: {error}");
            if let Some(job) = job {
                job.refuse(SystemError::describe(&error, message));
            }
        }
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        self.has_fewer_than(self.shared.gauge.limit(), waker)
    }

    fn check(&self) -> io::Result<()> {
        if !self.thread_name.contains('\0') {
            return Ok(());
        }
        let message = format!("thread_name {:?} contains a NUL byte", self.thread_name);
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        Some(self.shared.gauge.clone())
    }

    /// The threads go on, for other servers.
    fn join(&self, server: &ServerHandle) {
        self.wait_for(server.identity(), server.running_here());
    }
}

impl Default for ThreadPool {
    fn default() -> Self {
        ThreadPool::new()
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadPool")
    }
}

/// Idle threads end now, busy ones after their requests.
impl Drop for ThreadPool {
    fn drop(&mut self) {
        for thread in self.shared.close() {
            // Workers do not panic: they catch the panics of jobs.
            let _ = thread.join();
        }
    }
}

/// What a pool and its threads share.
struct Shared {
    state: Mutex<State>,
    job_ended: Condvar,
    gauge: ThreadGauge,
}

#[derive(Default)]
struct State {
    /// Those without a job. The one that became idle last is at the end.
    idle: Vec<IdleWorker>,
    /// The idle thread that was woken last, until it has looked at the queue.
    waking: Option<u64>,
    /// Jobs that no thread has taken yet.
    queue: VecDeque<Job>,
    unfinished: Unfinished,
    /// Those that have not ended, by id.
    threads: HashMap<u64, JoinHandle<()>>,
    next_worker: u64,
    closed: bool,
}

impl State {
    /// An idle thread to wake for the queue. One at a time: each wakes the next one as soon as it has taken a job.
    /// So no job waits for another while threads are idle, and of many short jobs few cost a wake-up, because
    /// threads that are awake take the others.
    fn next_to_wake(&mut self) -> Option<Sender<()>> {
        if self.queue.is_empty() || self.waking.is_some() {
            return None;
        }
        let next = self.idle.last()?;
        self.waking = Some(next.id);
        Some(next.waker.clone())
    }

    fn remove_idle(&mut self, id: u64) {
        if let Some(at) = self.idle.iter().rposition(|idle| idle.id == id) {
            self.idle.remove(at);
        }
    }
}

#[derive(Clone)]
struct IdleWorker {
    id: u64,
    waker: Sender<()>,
}

fn wake(waker: Option<Sender<()>>) {
    if let Some(waker) = waker {
        // Fails only if there is a message already, which wakes it too.
        let _ = waker.try_send(());
    }
}

/// What a worker does next.
enum Next {
    Run(Job),
    Wait,
    End,
}

impl Shared {
    /// Ends idle threads, and returns those that end at once. The others end after their job.
    fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state.lock();
        state.closed = true;
        let State { idle, threads, .. } = &mut *state;
        for idle in &*idle {
            wake(Some(idle.waker.clone()));
        }
        let of = |idle: &IdleWorker| threads.remove(&idle.id);
        let idle = idle.iter().filter_map(of).collect();
        self.gauge.set_threads(threads.len());
        // Some of them run what is queued.
        if state.queue.is_empty() {
            idle
        } else {
            Vec::new()
        }
    }

    /// What an idle worker does when it begins, was woken, or has waited for long enough.
    fn look(&self, worker: &Worker, may_stay: bool) -> Next {
        let id = worker.idle.id;
        let mut state = self.state.lock();
        state.waking.take_if(|waking| *waking == id);
        let next = self.next(&mut state, worker, may_stay);
        if !matches!(next, Next::Wait) {
            state.remove_idle(id);
        }
        let waker = state.next_to_wake();
        drop(state);
        wake(waker);
        next
    }

    fn job_ended(&self, worker: &Worker, server: usize) -> Next {
        let mut state = self.state.lock();
        let wakers = state.unfinished.remove(server);
        let next = self.next(&mut state, worker, true);
        if matches!(next, Next::Wait) {
            state.idle.push(worker.idle.clone());
        }
        drop(state);
        self.job_ended.notify_all();
        wakers.iter().for_each(Waker::wake);
        next
    }

    fn next(&self, state: &mut State, worker: &Worker, may_stay: bool) -> Next {
        if let Some(job) = state.queue.pop_front() {
            return Next::Run(job);
        }
        if may_stay && !state.closed && state.threads.len() <= self.gauge.limit() {
            return Next::Wait;
        }
        state.threads.remove(&worker.idle.id);
        self.gauge.set_threads(state.threads.len());
        Next::End
    }
}

/// One thread of the pool.
struct Worker {
    idle: IdleWorker,
    woken: Receiver<()>,
    keep_alive: Duration,
    shared: Arc<Shared>,
}

impl Worker {
    fn work(&self) {
        let mut next = self.shared.look(self, true);
        loop {
            next = match next {
                Next::Run(job) => {
                    let server = job.0.server_identity();
                    job.run();
                    self.shared.job_ended(self, server)
                }
                Next::Wait => {
                    let woken = self.woken.recv_timeout(self.keep_alive);
                    self.shared.look(self, woken.is_ok())
                }
                Next::End => return,
            }
        }
    }
}
