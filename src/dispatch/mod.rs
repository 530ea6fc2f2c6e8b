//! Where a request runs: Python's mix-in classes.
//!
//! | | [`Inline`] | [`ThreadPool`] | `Green` (feature `green`) | `Fork` (feature `fork`) |
//! |---|---|---|---|---|
//! | Python | no mix-in | `ThreadingMixIn` | gevent | `ForkingMixIn` |
//! | servers | `TcpServer`, `UdpServer`, … | `ThreadingTcpServer`, … | `GreenTcpServer`, … | `ForkingTcpServer`, … |
//! | runs requests | one after the other, on the thread of the accept loop | concurrently, each on a thread | concurrently, many on each thread | concurrently, each in a process |
//! | at its limit | the next clients wait in the system's queue | as [`OverloadPolicy`](crate::OverloadPolicy) says | the same | the same |
//! | a handler that waits for its client | blocks all clients | takes one thread | takes a stack | takes one process |
//! | a handler that blocks in other ways | blocks all clients | takes one thread | blocks the clients of its worker | takes one process |
//! | a handler that aborts | ends the program | ends the program | ends the program | ends its process |
//!
//! [`guide::dispatch`](crate::guide::dispatch) says when to choose which.
//!
//! A dispatcher of your own implements [`Dispatch`]: Python's "override `process_request`".

#[cfg(feature = "fork")]
pub(crate) mod child_table;
#[cfg(feature = "fork")]
mod fork;
#[cfg(feature = "green")]
mod green;
#[cfg(all(test, shuttle))]
mod model;
mod pool;
mod unfinished;

use std::fmt;
use std::io;
use std::sync::Arc;

#[cfg(feature = "fork")]
pub use self::fork::Fork;
#[cfg(feature = "green")]
pub use self::green::Green;
pub use self::pool::ThreadPool;
use crate::error::catch_silently;
#[cfg(feature = "green")]
pub use crate::green::{TaskInfo, TaskState};
use crate::handle::ChildProcesses;
#[cfg(feature = "green")]
use crate::handle::TaskList;
pub use crate::handle::{ThreadGauge, Waker};
use crate::request::Extensions;
use crate::{Address, ServerHandle};

/// Decides where and when a request runs. Python's `process_request`.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// use socketserver::dispatch::{Dispatch, Job};
/// use socketserver::prelude::*;
///
/// /// One thread per request, without a limit, as in Python.
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
///
/// A dispatcher that wraps another one passes on each method below: see
/// [`Server::dispatch`](crate::Server::dispatch). `Fork` cannot be wrapped, because its server itself reaps the
/// children.
#[doc(alias("process_request", "ThreadingMixIn"))]
pub trait Dispatch: Send + Sync + 'static {
    /// Runs the job, or passes it to another thread. Called on the thread of the accept loop: while it
    /// blocks, nothing is accepted and no shutdown is noticed.
    ///
    /// A job that cannot be run is [refused](Job::refuse). A job that is dropped closes its request
    /// without a report.
    fn dispatch(&self, job: Job);

    /// Whether a job that is dispatched now would run at once. If not, nothing is dispatched, and
    /// [`OverloadPolicy`](crate::OverloadPolicy) applies to new clients. Keep the waker then, and wake it
    /// when it has capacity: the server calls it again.
    ///
    /// Always true by default. A panic is logged and counts as true.
    fn has_capacity(&self, waker: &Waker) -> bool {
        let _ = waker;
        true
    }

    /// The gauge of its threads, for the server's statistics. `None`, the default, for a dispatcher
    /// without threads. Called once, when the server is made.
    fn thread_gauge(&self) -> Option<ThreadGauge> {
        None
    }

    /// Whether its settings can be used. An error is returned by [`bind`](crate::Builder::bind).
    #[doc(hidden)]
    fn check(&self) -> io::Result<()> {
        Ok(())
    }

    /// The processes of `Fork`.
    #[doc(hidden)]
    fn child_processes(&self) -> Option<Arc<dyn ChildProcesses>> {
        None
    }

    /// The tasks of `Green`.
    #[cfg(feature = "green")]
    #[doc(hidden)]
    fn task_list(&self) -> Option<Arc<dyn TaskList>> {
        None
    }

    /// Waits until its threads have finished the jobs of this server, except those of the calling thread.
    /// Called once by each server that [blocks on close](crate::Builder::block_on_close), after the listening
    /// socket is closed and all requests of the server have ended. What several servers share must not wait
    /// for the jobs of the others here.
    ///
    /// Does nothing by default.
    fn join(&self, server: &ServerHandle) {
        let _ = server;
    }
}

/// Several servers share one dispatcher: see [`ThreadPool`]. Do not share a dispatcher that forks: the
/// children of one server would end with another.
impl<D: Dispatch + ?Sized> Dispatch for Arc<D> {
    fn dispatch(&self, job: Job) {
        (**self).dispatch(job);
    }

    fn has_capacity(&self, waker: &Waker) -> bool {
        (**self).has_capacity(waker)
    }

    fn thread_gauge(&self) -> Option<ThreadGauge> {
        (**self).thread_gauge()
    }

    fn check(&self) -> io::Result<()> {
        (**self).check()
    }

    fn child_processes(&self) -> Option<Arc<dyn ChildProcesses>> {
        (**self).child_processes()
    }

    #[cfg(feature = "green")]
    fn task_list(&self) -> Option<Arc<dyn TaskList>> {
        (**self).task_list()
    }

    fn join(&self, server: &ServerHandle) {
        (**self).join(server);
    }
}

/// Runs each request on the thread of the accept loop, one after the other: Python's servers without a
/// mix-in.
///
/// Right for short handlers and datagrams. While a handler waits for its client, all other clients wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Dispatch for Inline {
    fn dispatch(&self, job: Job) {
        job.run();
    }
}

/// An accepted request, usually a verified one, whose handler is not made yet. It can be kept, and run on any thread.
///
/// A dispatcher may decide by what the job is about, as Python's `process_request(request, client_address)`
/// does:
///
/// ```
/// use socketserver::dispatch::{Dispatch, Job, ThreadPool, Waker};
/// use socketserver::prelude::*;
///
/// /// For clients with threads of their own.
/// struct Trusted;
///
/// struct TrustLocal;
///
/// impl Hooks for TrustLocal {
///     fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
///         if request.client_address.ip().is_some_and(|ip| ip.is_loopback()) {
///             request.extensions.insert(Trusted);
///         }
///         Ok(true)
///     }
/// }
///
/// #[derive(Default)]
/// struct TwoPools {
///     trusted: ThreadPool,
///     others: ThreadPool,
/// }
///
/// impl Dispatch for TwoPools {
///     fn dispatch(&self, job: Job) {
///         let is_trusted = job.extensions().get::<Trusted>().is_some();
///         let pool = if is_trusted { &self.trusted } else { &self.others };
///         pool.dispatch(job);
///     }
///
///     fn has_capacity(&self, waker: &Waker) -> bool {
///         self.trusted.has_capacity(waker) && self.others.has_capacity(waker)
///     }
///
///     fn join(&self, server: &ServerHandle) {
///         self.trusted.join(server);
///         self.others.join(server);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let builder = TcpServer::builder().dispatch(TwoPools::default()).hooks(TrustLocal);
/// let server = builder.bind_fn("127.0.0.1:0", |_| Ok(()))?;
/// std::net::TcpStream::connect(server.server_address())?;
/// server.handle_request()?;
/// assert_eq!(server.dispatch().trusted.threads(), 1);
/// assert_eq!(server.dispatch().others.threads(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a job that is dropped closes its request without a report"]
pub struct Job(Box<dyn Work>);

/// What is in a job. The server implements it.
pub(crate) trait Work: Send {
    /// Handles the request and closes it. Returns whether all went well.
    fn run(self: Box<Self>) -> bool;

    fn refuse(self: Box<Self>, error: io::Error);

    /// The [identity](ServerHandle::identity) of its server.
    fn server_identity(&self) -> usize;

    /// Whether it usually waits for its client: a connection does, a datagram has arrived whole. Only for speed.
    fn may_wait(&self) -> bool;

    fn subject(&self) -> Subject<'_>;

    #[cfg(feature = "fork")]
    fn child_work(&mut self) -> &mut dyn child_table::ChildWork;
}

/// What a job is about.
pub(crate) struct Subject<'a> {
    pub(crate) id: u64,
    pub(crate) client_address: &'a Address,
    pub(crate) server: &'a ServerHandle,
    pub(crate) extensions: &'a Extensions,
}

impl Job {
    pub(crate) fn new(work: Box<impl Work + 'static>) -> Self {
        Job(work)
    }

    /// The request's number: unique within its server, counted from 1. The log names it.
    pub fn id(&self) -> u64 {
        self.0.subject().id
    }

    /// The client's address. Behind a proxy that sends PROXY headers it is the proxy's: the header is received when
    /// the job runs.
    pub fn client_address(&self) -> &Address {
        self.0.subject().client_address
    }

    /// The server that accepted the request. Several may share a dispatcher.
    pub fn server(&self) -> &ServerHandle {
        self.0.subject().server
    }

    /// What the listener and [`verify_request`](crate::Hooks::verify_request) have put into the request.
    pub fn extensions(&self) -> &Extensions {
        self.0.subject().extensions
    }

    /// Runs the handler from `setup` to `finish` and closes the request. Never panics: errors and panics
    /// of the handler go to `handle_error`.
    pub fn run(self) {
        // A panic in the report of a panic or in a logger must not end the thread either.
        catch_silently(|| self.0.run());
    }

    /// Reports `error` to `handle_error` with [`Stage::Dispatch`](crate::Stage::Dispatch), and closes the
    /// request.
    pub fn refuse(self, error: io::Error) {
        catch_silently(|| self.0.refuse(error));
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}
