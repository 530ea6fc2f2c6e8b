use std::fs;
use std::io;
use std::sync::Arc;

use super::child_table::ChildTable;
use super::{Dispatch, Job, Waker};
use crate::error::SystemError;
use crate::handle::ChildProcesses;
use crate::sys::process::{self, ForkGuard, Forked};

/// Runs each request in a separate process, so that a crash, a leak or an abort in a handler affects no
/// other request. Python's `ForkingMixIn`. Feature `fork`.
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
/// The child has its own copy of all memory: changes of a handler are lost when it ends. It runs `setup`,
/// `handle` and `finish`, and ends by `_exit` with status 0, or 1 after an error that went to
/// `handle_error`. Of its server's sockets it has its own connection only, or the socket that datagrams are
/// answered through. It has everything else that the program has open, also the socket of another server.
/// The server closes its copy of the connection without shutting it down. `handle_error` runs in the child;
/// `verify_request` and the other hooks run in the server. (On a server that requires PROXY headers
/// `verify_request` runs in the child.)
///
/// The server reaps children while it waits for requests: at least twice a second, and at once where it
/// waits for one to end. It does not reap other children of the program, and leaves SIGCHLD alone. SIGCHLD
/// must not be ignored, and the program must not reap these children, or their exit status is unknown. A
/// server that does not [block on close](crate::Builder::block_on_close) does not reap the children that
/// still run then.
///
/// In the server's [`Statistics`](crate::Statistics) a child that exits with 1 counts as failed, also after
/// a panic, a timeout or a disconnect. A child that was killed by a signal counts as panicked, or as
/// disconnected after a forced close. Its bytes are not known.
///
/// In a child, [`statistics`](crate::ServerHandle::statistics) counts its own request and those that had ended
/// before the fork, as if the others had not been accepted. `shutdown_within` there waits for no other process.
///
/// A shutdown lets children finish. Those that are idle end at once. Those that have not ended within
/// [`shutdown_timeout`](crate::Builder::shutdown_timeout) are killed. The server sends SIGTERM every 50 ms
/// until a child has acted on it. With a [`drain_delay`](crate::Builder::drain_delay) it does so from the beginning of
/// the delay on, and a child counts the delay itself: a server that is closed before its end waits for idle
/// children until then. The signal interrupts system calls that the handler makes itself; reads and
/// writes of its request go on. Programs that a child starts after that ignore SIGTERM.
///
/// **Threads.** After a fork the child has one thread, and a lock that another thread of the parent held
/// stays locked. So in a process with several threads requests are refused with an error that says so. The
/// library's own threads, for [`shutdown_on_ctrlc`](crate::Server::shutdown_on_ctrlc) and for timers, do not
/// count: they pause while the server forks. But a forking server cannot
/// [`serve_in_background`](crate::Server::serve_in_background), publish metrics, or use a logger with
/// a thread or a server with a thread pool. [`beside_threads`](Self::beside_threads) allows that.
///
/// # Platform-specific behavior
///
/// Threads are counted in `/proc/self/task`. Without it, on systems other than Linux, all requests are
/// refused unless `beside_threads` was called.
#[derive(Debug)]
pub struct Fork {
    table: Arc<ChildTable>,
    beside_threads: bool,
}

impl Fork {
    /// The default limit: 40 children, as in Python.
    pub const DEFAULT_MAX_CHILDREN: usize = 40;

    /// A dispatcher without children yet, with the default limit.
    pub fn new() -> Self {
        Fork {
            table: Arc::new(ChildTable::new(Self::DEFAULT_MAX_CHILDREN)),
            beside_threads: false,
        }
    }

    /// How many children there may be at once; 0 counts as 1. Default
    /// [`DEFAULT_MAX_CHILDREN`](Self::DEFAULT_MAX_CHILDREN). At the limit
    /// [`overload`](crate::Builder::overload) applies to new clients.
    pub fn max_children(self, children: usize) -> Self {
        self.table.set_limit(children);
        self
    }

    /// Forks in a process with several threads too.
    ///
    /// # Safety
    ///
    /// Handlers, hooks and loggers must not depend on a lock that another thread may hold at the moment of
    /// a fork, nor on a thread that the child does not have. No other thread may use anything of the server
    /// at that moment, such as a [`ServerHandle`](crate::ServerHandle) or a
    /// [`Connection`](crate::request::Connection). The memory allocator of the GNU C library is safe here;
    /// most other allocators, and most libraries with threads, do not promise that.
    #[allow(unsafe_code)] // The caller promises; no code here is unsafe.
    pub unsafe fn beside_threads(mut self) -> Self {
        self.beside_threads = true;
        self
    }

    /// How many children there are.
    pub fn children(&self) -> usize {
        self.table.len()
    }

    fn fork(&self) -> io::Result<Forked> {
        let guard = ForkGuard::lock();
        if !self.beside_threads {
            check_threads(1 + guard.threads())?;
        }
        process::fork(guard).map_err(|e| {
            let children = self.children();
            let message = format!("cannot fork in addition to {children} children: {e}");
            SystemError::describe(&e, message)
        })
    }
}

fn check_threads(limit: usize) -> io::Result<()> {
    let why = match fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads) if threads <= limit => return Ok(()),
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
            Ok(Forked::Child) => self.table.run_as_child(job),
            Ok(Forked::Parent(child)) => self.table.insert(child, job),
            Err(e) => job.refuse(e),
        }
    }

    fn has_capacity(&self, _: &Waker) -> bool {
        self.table.has_capacity()
    }

    fn child_processes(&self) -> Option<Arc<dyn ChildProcesses>> {
        Some(self.table.clone())
    }
}

impl Default for Fork {
    fn default() -> Self {
        Fork::new()
    }
}
