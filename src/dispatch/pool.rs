use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::unfinished::Unfinished;
use super::{Dispatch, Job, ThreadGauge, Waker};
use crate::ServerHandle;
use crate::error::{SystemError, catch};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::sys::CountedThread;

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
        }
    }

    /// See [`Builder::max_threads`](crate::Builder::max_threads).
    pub fn max_threads(self, threads: usize) -> Self {
        self.shared.gauge.set_limit(threads);
        self
    }

    /// See [`Builder::thread_keep_alive`](crate::Builder::thread_keep_alive).
    pub fn thread_keep_alive(self, time: Duration) -> Self {
        self.shared.state.lock().settings.keep_alive = time;
        self
    }

    /// See [`Builder::stack_size`](crate::Builder::stack_size).
    pub fn stack_size(self, bytes: usize) -> Self {
        self.shared.state.lock().settings.stack_size = Some(bytes);
        self
    }

    /// See [`Builder::thread_name`](crate::Builder::thread_name).
    pub fn thread_name(self, name: impl Into<String>) -> Self {
        self.shared.state.lock().settings.thread_name = name.into();
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
}

impl Dispatch for ThreadPool {
    fn dispatch(&self, job: Job) {
        let mut state = self.shared.state.lock();
        state.unfinished.add(job.0.server_identity());
        state.queue.push_back(job);
        self.shared.wake_worker(state);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        self.has_fewer_than(self.shared.gauge.limit(), waker)
    }

    fn check(&self) -> io::Result<()> {
        let name = &self.shared.state.lock().settings.thread_name;
        if !name.contains('\0') {
            return Ok(());
        }
        let message = format!("thread_name {name:?} contains a NUL byte");
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
    settings: Settings,
    /// Jobs that no worker has taken yet: until one is awake, and beyond the limit of threads.
    queue: VecDeque<Job>,
    /// The one that became idle last is at the end.
    idle: Vec<Arc<Worker>>,
    /// The ids of the workers that were started or woken, and are not running yet. Each wakes the next one if there are
    /// more jobs, so a job does not cost a wake-up where others can take it.
    waking: Vec<u64>,
    /// The ids of the workers that look for a job before they sleep.
    searching: Vec<u64>,
    unfinished: Unfinished,
    /// Those that have not ended, by id.
    threads: HashMap<u64, JoinHandle<()>>,
    next_worker: u64,
    closed: bool,
}

impl State {
    /// How many workers are about to look for a job.
    fn coming(&self) -> usize {
        self.waking.len() + self.searching.len()
    }

    /// Returns false if the worker is not idle any more: it is being woken.
    fn forget_idle(&mut self, worker: &Arc<Worker>) -> bool {
        let at = self.idle.iter().position(|idle| Arc::ptr_eq(idle, worker));
        at.map(|at| self.idle.remove(at)).is_some()
    }
}

struct Settings {
    keep_alive: Duration,
    stack_size: Option<usize>,
    thread_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_alive: Duration::from_secs(10),
            stack_size: None,
            thread_name: "handler".to_owned(),
        }
    }
}

/// One thread of the pool. Whoever removes it from the list of those that are idle wakes it.
struct Worker {
    id: u64,
    woken: Condvar,
}

impl Shared {
    /// Lets one more worker run if more jobs wait than those that are about to look will take.
    fn wake_worker<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        // Short jobs cost few wake-ups then, and a burst of long ones is still taken by many workers soon.
        const JOBS_PER_WORKER: usize = 8;
        if state.queue.len() <= state.coming() * JOBS_PER_WORKER {
            return;
        }
        if let Some(worker) = state.idle.pop() {
            state.waking.push(worker.id);
            drop(state);
            worker.woken.notify_all();
            return;
        }
        // A job beyond the limit is taken by a worker that is busy now.
        if state.threads.len() < self.gauge.limit() {
            match self.start_worker(&mut state) {
                Ok(id) => state.waking.push(id),
                Err(error) => self.refuse(state, &error),
            }
        }
    }

    fn start_worker(self: &Arc<Self>, state: &mut State) -> io::Result<u64> {
        let counted = CountedThread::new()?;
        let id = state.next_worker;
        let settings = &state.settings;
        let mut builder = thread::Builder::new().name(format!("{}-{id}", settings.thread_name));
        if let Some(bytes) = settings.stack_size {
            builder = builder.stack_size(bytes);
        }
        let shared = Arc::clone(self);
        let woken = Condvar::new();
        let worker = Arc::new(Worker { id, woken });
        // The standard library panics for a name with a NUL byte.
        let spawned = catch(|| builder.spawn(move || shared.work(&worker, &counted)));
        let thread = spawned.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))?;
        // The state is still locked, so the thread cannot end before it is in the map.
        state.threads.insert(id, thread);
        self.gauge.set_threads(state.threads.len());
        state.next_worker += 1;
        Ok(id)
    }

    /// There is no thread for the jobs that came last: all but one for each worker that is about to look. They would
    /// wait for a worker that may be busy for hours.
    fn refuse(&self, mut state: MutexGuard<'_, State>, error: &io::Error) {
        let kept = state.coming().min(state.queue.len());
        let refused = state.queue.split_off(kept);
        let remove = |job: &Job| state.unfinished.remove(job.0.server_identity());
        let wakers: Vec<_> = refused.iter().flat_map(remove).collect();
        let threads = state.threads.len();
        drop(state);
        self.job_ended.notify_all();
        wakers.iter().for_each(Waker::wake);
        let message = format!("cannot start a thread in addition to {threads}: {error}");
        for job in refused {
            job.refuse(SystemError::describe(error, message.clone()));
        }
    }

    /// The thread of a worker: runs jobs until there is none for a while.
    fn work(self: &Arc<Self>, worker: &Arc<Worker>, _: &CountedThread) {
        let mut state = self.state.lock();
        state.waking.retain(|id| *id != worker.id);
        let mut max_searching = 1;
        while let Some(job) = self.take_job(&mut state, worker, max_searching) {
            let server = job.0.server_identity();
            max_searching = max_searching_after(&job);
            self.wake_worker(state);
            job.run();
            state = self.state.lock();
            let wakers = state.unfinished.remove(server);
            self.job_ended.notify_all();
            if !wakers.is_empty() {
                search_after(&mut state, worker.id, || {
                    wakers.iter().for_each(Waker::wake)
                });
            }
        }
        state.threads.remove(&worker.id);
        self.gauge.set_threads(state.threads.len());
    }

    /// Waits for a job. Returns `None` when the thread has to end.
    fn take_job(
        &self,
        state: &mut MutexGuard<'_, State>,
        worker: &Arc<Worker>,
        max_searching: usize,
    ) -> Option<Job> {
        loop {
            if let Some(job) = search(state, worker.id, max_searching) {
                return Some(job);
            }
            let is_surplus = state.threads.len() > self.gauge.limit();
            if state.closed || is_surplus || !sleep(state, worker) {
                return None;
            }
        }
    }

    /// Ends the threads that have no job, and returns them. Others end after their job.
    fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state.lock();
        state.closed = true;
        let idle = mem::take(&mut state.idle);
        for worker in &idle {
            worker.woken.notify_all();
        }
        let mut ended = Vec::new();
        // Otherwise some of them run what is queued.
        if state.queue.is_empty() {
            ended.extend(idle.iter().map(|worker| worker.id));
            ended.extend(&state.searching);
            ended.extend(&state.waking);
        }
        let end = |id: &u64| state.threads.remove(id);
        let ended = ended.iter().filter_map(end).collect();
        self.gauge.set_threads(state.threads.len());
        ended
    }
}

/// How many workers may look for the next job at once; others sleep. One finds all datagrams: with more, which take the
/// processor from the accept loop, 16 clients were served a quarter slower. Handlers of connections wait for their
/// clients, so they need more workers, and a worker that looks need not be woken.
fn max_searching_after(job: &Job) -> usize {
    if job.0.may_wait() { 8 } else { 1 }
}

/// Takes a job. Looks several times: the next one often comes at once, and to sleep and to be woken costs more.
fn search(state: &mut MutexGuard<'_, State>, id: u64, max_searching: usize) -> Option<Job> {
    const YIELDS: usize = 4;
    for _ in 0..YIELDS {
        let is_enough = state.searching.len() >= max_searching;
        if state.closed || is_enough || !state.queue.is_empty() {
            break;
        }
        search_after(state, id, thread::yield_now);
    }
    state.queue.pop_front()
}

/// Unlocks the state meanwhile. The worker looks for a job afterwards, so no other is woken for one.
fn search_after(state: &mut MutexGuard<'_, State>, id: u64, act: impl FnOnce()) {
    state.searching.push(id);
    MutexGuard::unlocked(state, act);
    state.searching.retain(|other| *other != id);
}

/// Sleeps until the worker is woken. Returns false if it was idle for too long instead.
fn sleep(state: &mut MutexGuard<'_, State>, worker: &Arc<Worker>) -> bool {
    let keep_alive = state.settings.keep_alive;
    state.idle.push(Arc::clone(worker));
    // A notification may come late: when the worker was woken by its timeout, has run the job, and is idle again.
    while !state.closed && !state.waking.contains(&worker.id) {
        let waited = worker.woken.wait_for(state, keep_alive);
        if waited.timed_out() && state.forget_idle(worker) {
            return false;
        }
    }
    state.waking.retain(|id| *id != worker.id);
    true
}
