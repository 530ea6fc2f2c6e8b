//! Where a request runs: Python's mix-in classes.
//!
//! | | [`Inline`] | [`ThreadPool`] | `Fork` (feature `fork`) |
//! |---|---|---|---|
//! | Python | no mix-in | `ThreadingMixIn` | `ForkingMixIn` |
//! | servers | `TcpServer`, `UdpServer`, … | `ThreadingTcpServer`, `ThreadingUdpServer`, … | `ForkingTcpServer`, `ForkingUdpServer`, … |
//! | runs requests | one after the other, on the serving thread | side by side, each on a thread of its own | side by side, each in a process of its own |
//! | at its bound | the next waits in the kernel's queue | as [`OverloadPolicy`](crate::OverloadPolicy) says | the same |
//! | a handler that blocks | holds up everybody | holds up nobody while there are threads | holds up nobody while there may be children |
//! | a handler that aborts | ends the program | ends the program | ends its process |
//!
//! A dispatcher of your own implements [`Dispatch`]: Python's "override `process_request`".

#[cfg(feature = "fork")]
mod fork;
mod inline;
#[cfg(all(test, shuttle))]
mod model;
mod pool;
mod worker;

use std::fmt;
use std::io;

#[cfg(feature = "fork")]
pub use self::fork::Fork;
pub use self::inline::Inline;
pub use self::pool::ThreadPool;
pub use crate::children::Children;
use crate::error::contain;
pub use crate::gauge::ThreadGauge;
pub use crate::handle::Waker;
#[cfg(feature = "fork")]
use crate::sys::process::{End, Pid};

/// Decides where and when a request runs. Python's `process_request`.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// use socketserver::dispatch::{Dispatch, Job};
/// use socketserver::prelude::*;
///
/// /// A thread per request and no bound: what Python does.
/// #[derive(Default)]
/// struct ThreadEach;
///
/// impl Dispatch for ThreadEach {
///     fn dispatch(&self, job: Job) {
///         std::thread::spawn(move || job.run());
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let server = TcpServer::builder().dispatch(ThreadEach).bind_fn("127.0.0.1:0", |request| {
///     request.wfile.write_all(b"hello")?;
///     Ok(())
/// })?;
/// let server = server.serve_in_background()?;
/// let mut text = String::new();
/// TcpStream::connect(server.server_address())?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub trait Dispatch: Send + Sync + 'static {
    /// Runs the job, or sees to it that another thread does. Called on the serving thread: while it
    /// blocks, nothing is accepted and no shutdown is noticed.
    ///
    /// A job that cannot be run is [refused](Job::refuse); one that is just dropped closes its
    /// request in silence.
    fn dispatch(&self, job: Job);

    /// Whether a job dispatched now would be run at once. While it says no, nothing is dispatched, and
    /// what becomes of new clients is for [`OverloadPolicy`](crate::OverloadPolicy) to say. Keep the waker then,
    /// and wake it when there is room: the server asks again.
    ///
    /// Always yes by default.
    fn has_capacity(&self, waker: &Waker) -> bool {
        let _ = waker;
        true
    }

    /// The gauge of its threads, for the server's statistics. `None`, the default, for one without
    /// threads of its own. Asked once, when the server is made.
    fn thread_gauge(&self) -> Option<ThreadGauge> {
        None
    }

    /// Whether the server may start threads of its own, to reject requests. If not, it does that on
    /// the serving thread, where each read and write of a rejection has a second. Default true.
    fn may_start_threads(&self) -> bool {
        true
    }

    /// The processes it runs requests in. A dispatcher that wraps `Fork` returns what that does, and
    /// false from [`may_start_threads`](Self::may_start_threads); else nobody collects them. `None`,
    /// the default, for all others. Asked once, when the server is made.
    fn children(&self) -> Option<Children> {
        None
    }

    /// Waits until every job has ended. Called once, after the listening socket is closed, if the
    /// server is to [block on close](crate::Builder::block_on_close). A job on the calling thread
    /// is not waited for.
    ///
    /// Does nothing by default.
    fn join(&self) {}
}

/// One accepted and verified request with its handler still to be made. It can be kept, and run on
/// any thread.
#[must_use = "a job that is dropped closes its request without a word"]
pub struct Job(Box<dyn Task>);

/// What is in a job; the corridor knows.
pub(crate) trait Task: Send {
    fn run(self: Box<Self>);
    fn refuse(self: Box<Self>, error: io::Error);

    /// Runs in a process that ends with it; whether all went well.
    #[cfg(feature = "fork")]
    fn run_as_child(self: Box<Self>) -> bool;

    /// What is left of it here when a child has taken it over.
    #[cfg(feature = "fork")]
    fn leave_to(self: Box<Self>, child: Pid) -> Box<dyn Remote>;
}

/// A request that a child handles.
#[cfg(feature = "fork")]
pub(crate) trait Remote: Send {
    /// The child has ended.
    fn ended(self: Box<Self>, end: End);
}

impl Job {
    pub(crate) fn new(task: impl Task + 'static) -> Self {
        Job(Box::new(task))
    }

    /// Runs the handler from `setup` to `finish` and closes the request. Never panics: what the
    /// handler does wrong goes to `handle_error`.
    pub fn run(self) {
        // What panics while a panic, an error or a log line of theirs is dealt with must not cost the
        // thread either.
        contain(|| self.0.run());
    }

    /// Gives up: reports `error` to `handle_error` with [`Stage::Dispatch`](crate::Stage::Dispatch)
    /// and closes the request.
    pub fn refuse(self, error: io::Error) {
        contain(|| self.0.refuse(error));
    }
}

#[cfg(feature = "fork")]
impl Job {
    fn run_as_child(self) -> bool {
        self.0.run_as_child()
    }

    fn leave_to(self, child: Pid) -> Box<dyn Remote> {
        self.0.leave_to(child)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}
