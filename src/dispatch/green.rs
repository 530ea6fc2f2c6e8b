use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::unfinished::Unfinished;
use super::{Dispatch, Job, TaskInfo, TaskList, ThreadGauge, Waker};
use crate::ServerHandle;
use crate::error::SystemError;
use crate::green::{Monitor, Stacks, Worker, WorkerHandle};

/// Runs requests on green tasks: stackful coroutines, many on each worker thread. What gevent is to Python's
/// module, for the handlers that threads run.
///
/// A read or write of the request that has to wait suspends its task, and the worker goes on with others. So a
/// handler may wait only through its request, a [`Connection`](crate::request::Connection) or the functions
/// of [`task`](crate::task). Whatever else blocks (a long computation, [`std::thread::sleep`], a lock, a file,
/// another library's socket) holds up all tasks of its worker. Such a worker is logged as a warning and counted in
/// [`blocked_workers`](crate::Statistics::blocked_workers) after 100 ms.
///
/// A lock of `std` that is held over a read or write of the request can block a worker forever: use
/// [`task::Mutex`](crate::task::Mutex).
///
/// A new request goes to the worker with the fewest requests, and its task stays there. A worker that is blocked gets
/// no new ones while others are not. Feature `green`.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = GreenTcpServer::builder().workers(2).bind_fn("127.0.0.1:0", |request| {
///     for line in &mut request.rfile {
///         request.wfile.write_all(&line?)?;
///     }
///     Ok(())
/// })?
/// .serve_in_background()?;
/// // Each has a task, and all share two threads.
/// let mut clients = Vec::new();
/// for _ in 0..20 {
///     clients.push(TcpStream::connect(server.server_address())?);
/// }
/// for client in &mut clients {
///     client.write_all(b"hello\n")?;
///     let mut answer = [0; 6];
///     client.read_exact(&mut answer)?;
///     assert_eq!(&answer, b"hello\n");
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias("gevent", "coroutine", "fiber", "greenlet"))]
pub struct Green {
    shared: Arc<Shared>,
    workers: usize,
    stacks: Arc<Stacks>,
    max_tasks: usize,
}

struct Shared {
    state: Mutex<State>,
    job_ended: Condvar,
    gauge: ThreadGauge,
    monitor: Arc<Monitor>,
}

#[derive(Default)]
struct State {
    workers: Vec<Arc<WorkerHandle>>,
    unfinished: Unfinished,
}

impl Green {
    /// The default of [`stack_size`](Self::stack_size): 256 KiB.
    pub const DEFAULT_STACK_SIZE: usize = 256 << 10;

    /// The default of [`max_tasks`](Self::max_tasks): 100,000.
    pub const DEFAULT_MAX_TASKS: usize = 100_000;

    /// A dispatcher with the default settings and no threads yet.
    pub fn new() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Green {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                job_ended: Condvar::new(),
                gauge: ThreadGauge::new(workers),
                monitor: Arc::new(Monitor::new()),
            }),
            workers,
            stacks: Arc::new(Stacks::new(Self::DEFAULT_STACK_SIZE)),
            max_tasks: Self::DEFAULT_MAX_TASKS,
        }
    }

    /// See [`Builder::workers`](crate::Builder::workers).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self.shared.gauge.set_limit(self.workers);
        self
    }

    /// See [`Builder::stack_size`](crate::Builder::stack_size), which servers with threads have too.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stacks = Arc::new(Stacks::new(bytes));
        self
    }

    /// See [`Builder::max_tasks`](crate::Builder::max_tasks).
    pub fn max_tasks(mut self, tasks: usize) -> Self {
        self.max_tasks = tasks.max(1);
        self
    }

    fn start_worker(&self, state: &mut State) -> io::Result<()> {
        let handle = Arc::new(WorkerHandle::new()?);
        let (worker, shared) = (Arc::clone(&handle), Arc::clone(&self.shared));
        let (stacks, monitor) = (Arc::clone(&self.stacks), Arc::clone(&self.shared.monitor));
        let run = move || {
            Worker::run(worker, stacks, monitor, |server| {
                shared.job_ended(server);
            });
        };
        let name = format!("green-{}", state.workers.len());
        thread::Builder::new().name(name).spawn(run)?;
        self.shared.monitor.add(Arc::clone(&handle));
        state.workers.push(handle);
        self.shared.gauge.set_threads(state.workers.len());
        Ok(())
    }

    /// Starts the workers that are missing. Returns the one for the next request.
    fn worker(&self, state: &mut State) -> io::Result<Arc<WorkerHandle>> {
        while state.workers.len() < self.workers {
            match self.start_worker(state) {
                // The workers that have started serve all requests.
                Err(_) if !state.workers.is_empty() => break,
                started => started?,
            }
        }
        let next = state.workers.iter().min_by_key(|worker| worker.load());
        Ok(Arc::clone(next.expect("there is a worker")))
    }
}

impl Shared {
    fn job_ended(&self, server: usize) {
        let wakers = self.state.lock().unfinished.remove(server);
        self.job_ended.notify_all();
        wakers.iter().for_each(Waker::wake);
    }
}

impl TaskList for Shared {
    fn tasks(&self, server: &ServerHandle) -> Vec<TaskInfo> {
        let workers = self.state.lock().workers.clone();
        let of_worker =
            |(number, worker): (usize, &Arc<WorkerHandle>)| worker.tasks(server, number);
        workers.iter().enumerate().flat_map(of_worker).collect()
    }
}

impl Dispatch for Green {
    fn dispatch(&self, job: Job) {
        let mut state = self.shared.state.lock();
        match self.worker(&mut state) {
            Ok(worker) => {
                state.unfinished.add(job.server().identity());
                drop(state);
                worker.send_job(job);
            }
            Err(error) => {
                drop(state);
                let message = format!("cannot start a worker: {error}");
                job.refuse(SystemError::describe(&error, message));
            }
        }
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        let mut state = self.shared.state.lock();
        state.unfinished.are_fewer_than(self.max_tasks, waker)
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        Some(self.shared.gauge.clone())
    }

    fn check(&self) -> io::Result<()> {
        const MIN_STACK_SIZE: usize = 16 << 10;
        let size = self.stacks.size();
        if size < MIN_STACK_SIZE {
            let message = format!("stack_size is {size} bytes, and the least is {MIN_STACK_SIZE}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn task_list(&self) -> Option<Arc<dyn TaskList>> {
        Some(self.shared.clone())
    }

    fn join(&self, server: &ServerHandle) {
        let mut state = self.shared.state.lock();
        let (server, own) = (server.identity(), server.running_here());
        while state.unfinished.of(server) > own {
            self.shared.job_ended.wait(&mut state);
        }
    }
}

impl Default for Green {
    fn default() -> Self {
        Green::new()
    }
}

impl fmt::Debug for Green {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Green")
            .field("workers", &self.workers)
            .field("stack_size", &self.stacks.size())
            .field("max_tasks", &self.max_tasks)
            .finish_non_exhaustive()
    }
}

/// Workers end once they have no tasks.
impl Drop for Green {
    fn drop(&mut self) {
        self.shared.state.lock().workers.clear();
        self.shared.monitor.end_workers();
        self.shared.gauge.set_threads(0);
    }
}
