use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Children, Dispatch, Job, Remote, Waker};
use crate::children::Offspring;
use crate::own_threads::Rest;
use crate::sync::Mutex;
use crate::sys::process::{self, End, Forked, Pid};

/// Runs each request in a process of its own, so that a crash, a leak or an abort in a handler
/// touches nobody else. Python's `ForkingMixIn`. Feature `fork`.
///
/// ```no_run
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = ForkingTcpServer::bind_fn("127.0.0.1:9999", |request| {
///     writeln!(request.wfile, "this is process {}", std::process::id())?;
///     Ok(())
/// })?;
/// server.shutdown_on_ctrlc()?;
/// server.serve_forever()
/// # }
/// ```
///
/// The child has its own copy of everything and hands nothing back: what a handler changes is gone
/// with it. It runs `setup`, `handle` and `finish` and leaves by `_exit`: with status 0, or 1 if
/// something went wrong that `handle_error` was told of. Of its server's sockets it has its own
/// connection only (or the socket that datagrams are answered through); what else the program has
/// open, another server's socket included, it has too. The server closes its copy of the connection
/// without shutting it down. `handle_error` runs in the child, `verify_request` and the other hooks in
/// the server.
///
/// Children that have ended are collected while the server waits for requests: at least twice a second,
/// and at once where somebody waits for one to end. No other child of the program is waited for, and
/// SIGCHLD is left alone; it must not be ignored, nor may the program wait for any child there is, or
/// it is not known how a child has ended. A server that does not [block on
/// close](crate::Builder::block_on_close) leaves those that run uncollected.
///
/// In the server's [`Statistics`](crate::Statistics) a child that exits with 1 counts as failed, be it
/// a panic, a timeout or a client that went away; one that was killed by a signal counts as panicked,
/// or as disconnected once a shutdown kills what is left. Its bytes are not known.
///
/// A shutdown lets children finish. Those that wait for their client's next request end at once;
/// those that are not done within [`shutdown_timeout`](crate::Builder::shutdown_timeout) are killed.
/// They are told by SIGTERM, every 50 ms until they have heard, which interrupts system calls that
/// the handler makes itself; reads and writes of its request go on. Programs that a child starts after
/// that ignore SIGTERM.
///
/// **Threads.** After a fork the child has one thread, and a lock that another thread of the parent
/// held stays locked for ever. So in a process with several threads requests are refused with an
/// error that says so. The library's own threads, for
/// [`shutdown_on_ctrlc`](crate::Server::shutdown_on_ctrlc) and for deadlines, do not count: they rest
/// while the server forks. But a forking server cannot
/// [`serve_in_background`](crate::Server::serve_in_background), nor publish metrics, nor run beside a
/// logger with a thread, or a server with a thread pool. [`beside_threads`](Self::beside_threads) lifts
/// that.
///
/// # Platform-specific behavior
///
/// Threads are counted in `/proc/self/task`. Without it, that is on systems other than Linux, all
/// requests are refused unless `beside_threads` was called.
#[derive(Debug)]
pub struct Fork {
    list: Arc<List>,
    beside_threads: bool,
}

impl Fork {
    /// The default bound: 40 children, as in Python.
    pub const DEFAULT_MAX_CHILDREN: usize = 40;

    /// No children yet, and [`DEFAULT_MAX_CHILDREN`](Self::DEFAULT_MAX_CHILDREN) at most.
    pub fn new() -> Self {
        Fork {
            list: Arc::new(List::new()),
            beside_threads: false,
        }
    }

    /// The most children at once; 0 counts as 1. Default
    /// [`DEFAULT_MAX_CHILDREN`](Self::DEFAULT_MAX_CHILDREN). At the bound there is no room for new
    /// clients: [`overload`](crate::Builder::overload) says what becomes of them.
    pub fn max_children(self, children: usize) -> Self {
        self.list.set_most(children);
        self
    }

    /// Forks in a process with several threads too.
    ///
    /// # Safety
    ///
    /// Whatever handlers, hooks and loggers use must not depend on a lock that another thread may
    /// hold at the moment of a fork, nor on a thread that the child does not have; and no other thread
    /// uses anything of the server at that moment, such as a
    /// [`ServerHandle`](crate::ServerHandle) or a [`Connection`](crate::request::Connection). The memory
    /// allocator of the GNU C library copes; most others, and most libraries with threads of their
    /// own, do not promise to.
    #[allow(unsafe_code)] // A promise of the caller's; nothing here relies on more.
    pub unsafe fn beside_threads(mut self) -> Self {
        self.beside_threads = true;
        self
    }

    /// How many children there are.
    pub fn children(&self) -> usize {
        self.list.children.lock().len()
    }

    fn fork(&self) -> io::Result<Forked> {
        let rest = Rest::begin();
        if !self.beside_threads {
            check_threads(1 + rest.count())?;
        }
        process::fork(rest).map_err(|e| {
            let children = self.children();
            let message = format!("cannot fork beside the {children} children there are: {e}");
            io::Error::new(e.kind(), message)
        })
    }
}

/// Whether there are no more threads than those that may be.
fn check_threads(most: usize) -> io::Result<()> {
    let why = match fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads) if threads <= most => return Ok(()),
        Ok(threads) => format!("has {threads} threads"),
        Err(e) => format!("may have several threads ({e})"),
    };
    let message = format!(
        "cannot fork: this process {why}, and the child would have one; serve on the only thread, or see Fork::beside_threads"
    );
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

impl Dispatch for Fork {
    fn dispatch(&self, job: Job) {
        match self.fork() {
            Ok(Forked::Child) => self.list.live_as_child(job),
            Ok(Forked::Parent(child)) => self.list.enter(child, job),
            Err(e) => job.refuse(e),
        }
    }

    fn has_capacity(&self, _: &Waker) -> bool {
        self.list.has_capacity()
    }

    fn may_start_threads(&self) -> bool {
        false
    }

    fn children(&self) -> Option<Children> {
        Some(Children::new(self.list.clone()))
    }
}

impl Default for Fork {
    fn default() -> Self {
        Fork::new()
    }
}

/// The children of one server.
struct List {
    children: Mutex<Vec<Child>>,
    looked: Mutex<Instant>,
    /// When they were last told of a shutdown.
    told: Mutex<Option<Instant>>,
    most: AtomicUsize,
    /// A server waits for one to end.
    waited_for: AtomicBool,
    door: AtomicI32,
    /// What is told to come too late for some is done as they come.
    killed: AtomicBool,
}

/// A child never goes on as its parent would, whatever happens.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        process::exit(false);
    }
}

struct Child {
    pid: Pid,
    request: Box<dyn Remote>,
}

impl List {
    const SOON: Duration = Duration::from_millis(5);
    const LATER: Duration = Duration::from_millis(500);
    const AGAIN: Duration = Duration::from_millis(50);
    const NO_DOOR: RawFd = -1;

    fn new() -> Self {
        List {
            children: Mutex::default(),
            looked: Mutex::new(Instant::now()),
            told: Mutex::default(),
            most: AtomicUsize::new(Fork::DEFAULT_MAX_CHILDREN),
            waited_for: AtomicBool::new(false),
            door: AtomicI32::new(Self::NO_DOOR),
            killed: AtomicBool::new(false),
        }
    }

    fn has_capacity(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        if self.children.lock().len() >= most {
            self.collect();
        }
        let has_capacity = self.children.lock().len() < most;
        self.waited_for.store(!has_capacity, Ordering::Relaxed);
        has_capacity
    }

    /// Takes leave of those that have ended.
    fn collect(&self) {
        *self.looked.lock() = Instant::now();
        let mut ended = Vec::new();
        let mut children = self.children.lock();
        for child in mem::take(&mut *children) {
            match process::try_wait(child.pid) {
                End::NotYet => children.push(child),
                end => ended.push((child, end)),
            }
        }
        drop(children);
        // Outside the lock: what ends with them takes locks of its own.
        for (child, end) in ended {
            child.request.ended(end);
        }
    }

    fn enter(&self, pid: Pid, job: Job) {
        let request = job.leave_to(pid);
        // Locked until it is killed too: nobody else takes leave of it before.
        let mut children = self.children.lock();
        children.push(Child { pid, request });
        if self.killed.load(Ordering::SeqCst) {
            process::kill(pid);
        }
    }

    /// The child's whole life.
    fn live_as_child(&self, job: Job) -> ! {
        let _exit = ExitOnDrop;
        // They are its parent's, to wait for and to tell.
        mem::forget(mem::take(&mut *self.children.lock()));
        let door = self.door.load(Ordering::Relaxed);
        if door != Self::NO_DOOR {
            process::blind(door);
        }
        process::exit(job.run_as_child())
    }
}

impl Offspring for List {
    fn look(&self, soon: bool) -> Option<Duration> {
        let soon = soon || self.waited_for.load(Ordering::Relaxed);
        let pause = if soon { Self::SOON } else { Self::LATER };
        if soon || self.looked.lock().elapsed() >= pause {
            self.collect();
        }
        let left = !self.children.lock().is_empty();
        left.then_some(pause)
    }

    /// Tells them again and again: one that was about to wait for its client when it was told has
    /// missed it. Not too often, for it interrupts those that are busy.
    fn drain(&self) {
        self.waited_for.store(true, Ordering::Relaxed);
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.is_some_and(|at| now - at < Self::AGAIN) {
            return;
        }
        *told = Some(now);
        for child in &*self.children.lock() {
            process::tell(child.pid);
        }
    }

    fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        for child in &*self.children.lock() {
            process::kill(child.pid);
        }
    }

    fn set_most(&self, children: usize) {
        self.most.store(children.max(1), Ordering::Relaxed);
    }

    fn set_door(&self, door: RawFd) {
        self.door.store(door, Ordering::Relaxed);
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("children", &self.children.lock().len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}
