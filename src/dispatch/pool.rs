use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::unfinished::Unfinished;
use super::{Dispatch, Job, ThreadGauge, Waker};
use crate::ServerHandle;
use crate::error::{SystemError, catch};
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender, bounded};
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

    /// Starts a thread with its first job. Gives the job back on failure.
    fn start_worker(&self, state: &mut State, job: Job) -> Result<(), (Job, io::Error)> {
        let id = state.next_worker;
        let mut builder = thread::Builder::new().name(format!("{}-{id}", self.thread_name));
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let (sender, receiver) = bounded(1);
        let idle = IdleWorker { id, sender };
        let worker = Worker {
            idle: idle.clone(),
            receiver,
            keep_alive: self.keep_alive,
            shared: Arc::clone(&self.shared),
        };
        // The standard library panics for a name with a NUL byte.
        let spawned = catch(|| builder.spawn(move || while worker.work() {}));
        match spawned.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            // The state is still locked, so the thread cannot end before it is in the map.
            Ok(thread) => {
                state.threads.insert(id, thread);
                self.shared.gauge.set_threads(state.threads.len());
                state.next_worker += 1;
                send(&idle.sender, Some(job));
                Ok(())
            }
            Err(error) => Err((job, error)),
        }
    }
}

impl Dispatch for ThreadPool {
    fn dispatch(&self, job: Job) {
        let server = job.0.server_identity();
        let mut state = self.shared.state.lock();
        state.unfinished.add(server);
        if let Some(idle) = state.idle.pop() {
            drop(state);
            return send(&idle.sender, Some(job));
        }
        if state.threads.len() >= self.shared.gauge.limit() {
            return state.queue.push_back(job);
        }
        if let Err((job, error)) = self.start_worker(&mut state, job) {
            let wakers = state.unfinished.remove(server);
            let threads = state.threads.len();
            drop(state);
            wakers.iter().for_each(Waker::wake);
            let message = format!("cannot start a thread in addition to {threads}: {error}");
            job.refuse(SystemError::describe(&error, message));
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
    /// The one that became idle last is at the end.
    idle: Vec<IdleWorker>,
    /// Jobs beyond the limit, from servers that dispatch without asking for capacity.
    queue: VecDeque<Job>,
    unfinished: Unfinished,
    /// Those that have not ended, by id.
    threads: HashMap<u64, JoinHandle<()>>,
    next_worker: u64,
    closed: bool,
}

/// Whoever removes it from the list may send one message to it.
#[derive(Clone)]
struct IdleWorker {
    id: u64,
    sender: Sender<Option<Job>>,
}

/// What a worker does after a job.
enum Next {
    Run(Job),
    Wait,
    End,
}

impl Shared {
    /// Ends idle threads, and returns them. Busy ones end after their job.
    fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state.lock();
        state.closed = true;
        let State { idle, threads, .. } = &mut *state;
        let end = |idle: IdleWorker| {
            send(&idle.sender, None);
            threads.remove(&idle.id)
        };
        let ended = idle.drain(..).filter_map(end).collect();
        self.gauge.set_threads(threads.len());
        ended
    }

    fn job_ended(&self, worker: &Worker, server: usize) -> Next {
        let mut state = self.state.lock();
        let wakers = state.unfinished.remove(server);
        let ends = state.closed || state.threads.len() > self.gauge.limit();
        let next = match state.queue.pop_front() {
            Some(job) => Next::Run(job),
            None if ends => {
                self.remove(&mut state, worker.idle.id);
                Next::End
            }
            None => {
                state.idle.push(worker.idle.clone());
                Next::Wait
            }
        };
        drop(state);
        self.job_ended.notify_all();
        wakers.iter().for_each(Waker::wake);
        next
    }

    /// Removes a worker that was idle for long enough. Returns false if a job was sent to it.
    fn retire(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.idle.iter().position(|idle| idle.id == id) else {
            return false;
        };
        state.idle.remove(at);
        self.remove(&mut state, id);
        true
    }

    fn remove(&self, state: &mut State, id: u64) {
        state.threads.remove(&id);
        self.gauge.set_threads(state.threads.len());
    }
}

/// Sends a job, or `None` to end the thread.
fn send(sender: &Sender<Option<Job>>, message: Option<Job>) {
    // A worker keeps both ends of its channel, and ends only when it is off the list and the channel is
    // empty.
    sender
        .try_send(message)
        .expect("the channel of an idle worker is empty and open");
}

/// One thread of the pool.
struct Worker {
    idle: IdleWorker,
    receiver: Receiver<Option<Job>>,
    keep_alive: Duration,
    shared: Arc<Shared>,
}

impl Worker {
    /// Waits for a message and acts on it. Returns false when the thread has to end.
    fn work(&self) -> bool {
        match self.receiver.recv_timeout(self.keep_alive) {
            Ok(Some(job)) => self.run(job),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => !self.shared.retire(self.idle.id),
        }
    }

    /// Runs the job, and those in the queue.
    fn run(&self, mut job: Job) -> bool {
        loop {
            let server = job.0.server_identity();
            job.run();
            match self.shared.job_ended(self, server) {
                Next::Run(next) => job = next,
                Next::Wait => return true,
                Next::End => return false,
            }
        }
    }
}
