mod control;
mod drain_delay;
mod group;
mod permit;
mod registry;
mod serving;
mod shutdown;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) use self::control::{Control, ListenState};
use self::drain_delay::DrainDelay;
pub use self::group::GroupHandle;
pub(crate) use self::group::{GroupPermit, GroupState};
pub(crate) use self::permit::{
    Permit, RequestName, RunningHere, running_servers, set_running_servers,
};
pub(crate) use self::registry::{ConnectionEntry, OpenConnection, Registry};
pub(crate) use self::serving::Serving;
use self::serving::ServingState;
pub use self::shutdown::DrainReport;
use self::shutdown::ShutdownState;
use crate::Address;
#[cfg(feature = "green")]
use crate::dispatch::TaskInfo;
use crate::limits::Limits;
use crate::options::StreamOptions;
use crate::rate_limit::RateLimit;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sys::Poller;
use crate::sys::linger::Lingering;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;

/// A handle to a server: its address, statistics, limits, pause and shutdown, from any thread. Cheap to
/// clone, and available in every handler as `request.server`.
///
/// It stays valid after the server is closed; its methods have nothing to act on then, and it holds no
/// descriptor.
///
/// ```
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = TcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
/// let handle = server.handle();
/// std::thread::spawn(move || handle.shutdown());
/// server.serve_forever()
/// # }
/// ```
#[derive(Clone)]
pub struct ServerHandle(Arc<Shared>);

struct Shared {
    name: Option<String>,
    is_stream: bool,
    group: OnceLock<Arc<GroupState>>,
    requested_address: Address,
    bound_address: OnceLock<Address>,
    stream_options: StreamOptions,
    lingering: Arc<Lingering>,
    control: Mutex<Control>,
    /// `Control::changes`, to be read without the lock.
    control_changes: AtomicU64,
    threads: Option<ThreadGauge>,
    children: Option<Arc<dyn ChildProcesses>>,
    #[cfg(feature = "green")]
    tasks: Option<Arc<dyn TaskList>>,
    #[cfg(feature = "tls")]
    tls: ServerTls,
    log_limit: RateLimit,
    poller: Poller,
    next_id: AtomicU64,
    registry: Registry,
    closed: AtomicBool,
    serving: ServingState,
    not_ready: AtomicBool,
    drain_delay: DrainDelay,
    shutdown: ShutdownState,
}

/// The settings of the builder that a handle uses.
pub(crate) struct HandleConfig {
    pub(crate) name: Option<String>,
    /// Whether its requests are connections.
    pub(crate) is_stream: bool,
    pub(crate) streams: StreamOptions,
    pub(crate) limits: Limits,
    pub(crate) drain_delay: Duration,
    pub(crate) shutdown_timeout: Option<Duration>,
    pub(crate) threads: Option<ThreadGauge>,
    pub(crate) children: Option<Arc<dyn ChildProcesses>>,
    #[cfg(feature = "green")]
    pub(crate) tasks: Option<Arc<dyn TaskList>>,
}

/// The tasks that a dispatcher runs requests in. Only `dispatch::Green` has any.
#[cfg(feature = "green")]
pub trait TaskList: Send + Sync {
    /// The tasks of one server.
    fn tasks(&self, server: &ServerHandle) -> Vec<TaskInfo>;
}

/// The processes that a dispatcher runs requests in. Only `dispatch::Fork` has any.
pub trait ChildProcesses: Send + Sync {
    /// Reaps children that have ended, if the last call is long enough ago or `now` is true. Never blocks.
    /// Returns when to poll again if any are left.
    fn poll(&self, now: bool) -> Option<Duration>;

    /// Sends them SIGTERM. Called with every poll during a shutdown.
    fn drain(&self);

    /// Kills them.
    fn kill(&self);

    /// Sets how many there may be; 0 counts as 1.
    fn set_limit(&self, children: usize);

    /// The listening socket, which a child has no use for.
    fn set_listener(&self, listener: RawFd);
}

impl ServerHandle {
    pub(crate) fn new(requested_address: Address, config: HandleConfig) -> io::Result<Self> {
        Ok(ServerHandle(Arc::new(Shared {
            name: config.name,
            is_stream: config.is_stream,
            group: OnceLock::new(),
            requested_address,
            bound_address: OnceLock::new(),
            #[cfg(feature = "tls")]
            tls: ServerTls::new(&config.streams.tls),
            lingering: Lingering::new(config.streams.linger.clone()),
            stream_options: config.streams,
            control: Mutex::new(Control::new(config.limits)),
            control_changes: AtomicU64::new(0),
            threads: config.threads,
            children: config.children,
            #[cfg(feature = "green")]
            tasks: config.tasks,
            log_limit: RateLimit::default(),
            poller: Poller::new()?,
            next_id: AtomicU64::new(1),
            registry: Registry::default(),
            closed: AtomicBool::new(false),
            serving: ServingState::default(),
            not_ready: AtomicBool::new(false),
            drain_delay: DrainDelay::new(config.drain_delay),
            shutdown: ShutdownState::new(config.shutdown_timeout),
        })))
    }

    /// The address the server is bound to, with the real port where port 0 was requested. Before
    /// `server_bind`, the requested address.
    pub fn server_address(&self) -> &Address {
        self.0.address()
    }

    /// The server's name in log lines and metrics: the [`name`](crate::Builder::name) that was set, or its
    /// kind and address, such as `tcp 127.0.0.1:53`, `udp 127.0.0.1:53`, `unix /run/app.sock` or
    /// `unix datagram /run/app.sock`.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = TcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
    /// let address = server.server_address();
    /// assert_eq!(server.handle().name(), format!("tcp {address}"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(&self) -> String {
        self.0.name().to_string()
    }

    /// The [name](Self::name), for a log line.
    pub(crate) fn log_name(&self) -> impl fmt::Display + Copy {
        self.0.name()
    }

    /// Whether a log line about a request needs the server's name: other servers of the process count their
    /// requests too.
    pub(crate) fn is_one_of_several(&self) -> bool {
        self.0.name.is_some() || self.group().is_some()
    }

    /// Whether both are handles of the same server.
    pub(crate) fn is(&self, other: &ServerHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.0.bound_address.get().is_some()
    }

    pub(crate) fn set_bound(&self, address: Address) {
        // A server is bound once.
        let _ = self.0.bound_address.set(address);
    }

    pub(crate) fn set_closed(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.poller.close();
    }

    /// Whether the server is closed and its last request has ended.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_finished(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst) && self.0.registry.present() == 0
    }

    /// Whether a shutdown has begun: a drain delay is over.
    pub(crate) fn is_shutdown_begun(&self) -> bool {
        self.0.shutdown.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn poller(&self) -> &Poller {
        &self.0.poller
    }

    pub(crate) fn threads(&self) -> Option<&ThreadGauge> {
        self.0.threads.as_ref()
    }

    /// Whether its requests run on tasks, whose number the dispatcher limits.
    pub(crate) fn has_tasks(&self) -> bool {
        #[cfg(feature = "green")]
        return self.0.tasks.is_some();
        #[cfg(not(feature = "green"))]
        false
    }

    /// Whether its connections begin with a TLS handshake.
    pub(crate) fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.0.tls.config().is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    pub(crate) fn children(&self) -> Option<&dyn ChildProcesses> {
        self.0.children.as_deref()
    }

    /// Reaps children that have ended, and sends SIGTERM to the others from the call of `shutdown` on. Returns
    /// when to poll again, if any are left.
    #[inline]
    pub(crate) fn poll_children(&self, now: bool) -> Option<Instant> {
        let children = self.children()?;
        let pause = children.poll(now)?;
        if self.children_retire() || self.is_shutdown_begun() {
            children.drain();
        }
        Some(Instant::now() + pause)
    }

    /// Checked before each log line that clients can cause.
    pub(crate) fn log_limit(&self) -> &RateLimit {
        &self.0.log_limit
    }

    pub(crate) fn stream_options(&self) -> &StreamOptions {
        &self.0.stream_options
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> &ServerTls {
        &self.0.tls
    }

    /// Its connections that are closed, but whose clients may still send.
    pub(crate) fn lingering(&self) -> &Arc<Lingering> {
        &self.0.lingering
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shared {
    fn address(&self) -> &Address {
        self.bound_address.get().unwrap_or(&self.requested_address)
    }

    fn name(&self) -> ServerName<'_> {
        ServerName(self)
    }
}

#[derive(Clone, Copy)]
struct ServerName<'a>(&'a Shared);

impl fmt::Display for ServerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerName(server) = self;
        if let Some(name) = &server.name {
            return f.write_str(name);
        }
        let address = server.address();
        write!(f, "{} {address}", kind(address, server.is_stream))
    }
}

/// The kind of a server, by its address and whether its requests are connections.
pub(crate) fn kind(address: &Address, is_stream: bool) -> &'static str {
    match (address, is_stream) {
        (Address::Ip(_), true) => "tcp",
        (Address::Ip(_), false) => "udp",
        (_, true) => "unix",
        (_, false) => "unix datagram",
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("name", &format_args!("{}", self.log_name()))
            .field("server_address", self.server_address())
            .field(
                "is_shutting_down",
                &(self.is_retiring() || self.is_shutdown_begun()),
            )
            .finish_non_exhaustive()
    }
}

/// Wakes a server that waits until its dispatcher has capacity: see
/// [`Dispatch::has_capacity`](crate::dispatch::Dispatch::has_capacity).
#[derive(Clone, Debug)]
pub struct Waker(ServerHandle);

impl Waker {
    pub(crate) fn new(server: &ServerHandle) -> Self {
        Waker(server.clone())
    }

    /// Whether both wake the same server.
    pub fn will_wake(&self, other: &Waker) -> bool {
        self.0.is(&other.0)
    }

    /// Makes the server ask `has_capacity` again. Never blocks. An extra call does no harm.
    pub fn wake(&self) {
        self.0.poller().notify();
    }
}

/// How many threads a dispatcher has, the most it has had, and the most it may have. Clones share one
/// gauge.
///
/// A [`Dispatch`](crate::Dispatch) of your own that keeps one up to date shows its threads in the
/// server's [`Statistics`](crate::Statistics), and its limit can be changed through
/// [`ServerHandle::set_max_threads`](crate::ServerHandle::set_max_threads).
#[derive(Clone, Debug)]
pub struct ThreadGauge(Arc<Gauge>);

#[derive(Debug)]
struct Gauge {
    threads: AtomicUsize,
    peak: AtomicUsize,
    limit: AtomicUsize,
}

impl ThreadGauge {
    /// A gauge at 0 threads. A limit of 0 counts as 1.
    pub fn new(limit: usize) -> Self {
        ThreadGauge(Arc::new(Gauge {
            threads: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit.max(1)),
        }))
    }

    /// How many threads there are, busy or idle.
    pub fn threads(&self) -> usize {
        self.0.threads.load(Ordering::Relaxed)
    }

    /// The highest number of threads so far.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// How many threads there may be.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Records the current number of threads.
    pub fn set_threads(&self, threads: usize) {
        self.0.threads.store(threads, Ordering::Relaxed);
        self.0.peak.fetch_max(threads, Ordering::Relaxed);
    }

    /// Sets how many threads there may be; 0 counts as 1. Busy threads beyond it end after their
    /// request. This does not wake a server that waits for a thread;
    /// [`ServerHandle::set_max_threads`](crate::ServerHandle::set_max_threads) does.
    pub fn set_limit(&self, threads: usize) {
        self.0.limit.store(threads.max(1), Ordering::Relaxed);
    }
}
