#[cfg(feature = "tls")]
use std::io;

use super::ServerHandle;
#[cfg(feature = "green")]
use crate::dispatch::TaskInfo;
use crate::limits::{Limits, OverloadPolicy};
#[cfg(feature = "tls")]
use crate::log_line::log_line;
use crate::statistics::Statistics;
use crate::sync::atomic::Ordering;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

/// Statistics, limits, pause and resume.
impl ServerHandle {
    /// The counts of the server since its start, and its current state. Takes one lock, and reads the byte
    /// counters of each open connection.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
    /// assert_eq!(server.handle().statistics().accepted, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.0.registry.statistics();
        statistics.lingering = self.0.lingering.count();
        if let Some(gauge) = &self.0.threads {
            statistics.threads = gauge.threads();
            statistics.peak_threads = gauge.peak();
        }
        #[cfg(feature = "tls")]
        {
            statistics.tls = self.0.tls.statistics();
        }
        statistics
    }

    /// Replaces the certificates of a TLS server, and all else of its configuration: for new connections, while it
    /// serves. Those that are open go on. What [`start_tls`](crate::StreamRequest::start_tls) gets is the handler's own and
    /// stays. Clients cannot resume earlier sessions, and make a full handshake. Feature
    /// `tls`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the server has no TLS, or the configuration accepts 0-RTT data.
    #[cfg(feature = "tls")]
    #[doc(alias = "certificate renewal")]
    pub fn reload_tls(&self, config: TlsConfig) -> io::Result<()> {
        if !self.has_tls() {
            let text = format!("{} has no TLS", self.log_name());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.0.tls.set_config(config)?;
        log_line!(target: "socketserver::tls", Info, "{}: a new TLS configuration", self.log_name());
        Ok(())
    }

    /// What the tasks of a [green](crate::dispatch::Green) server do, the oldest first: a debugger does not show
    /// tasks that are suspended. Requests whose worker has not taken them yet are missing. Empty with other
    /// dispatchers. Feature `green`.
    ///
    /// ```
    /// use std::io::Read;
    /// use std::net::TcpStream;
    ///
    /// use socketserver::dispatch::TaskState;
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = GreenTcpServer::bind_fn("127.0.0.1:0", |request| {
    ///     request.wfile.write_all(b"?")?;
    ///     request.wfile.flush()?;
    ///     request.rfile.readline(100)?;
    ///     Ok(())
    /// })?
    /// .serve_in_background()?;
    /// let mut client = TcpStream::connect(server.server_address())?;
    /// client.read_exact(&mut [0])?;
    /// let tasks = server.handle().tasks();
    /// assert_eq!(tasks.len(), 1);
    /// println!("request {}: {} for {:?}", tasks[0].id, tasks[0].state, tasks[0].age);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "green")]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let list = self.0.tasks.as_ref();
        let mut tasks = list.map_or_else(Vec::new, |list| list.tasks(self));
        tasks.sort_by_key(|task| task.id);
        tasks
    }

    /// Changes [`max_connections`](crate::Builder::max_connections). Connections beyond a lower limit
    /// stay until they end. 0 counts as 1.
    pub fn set_max_connections(&self, connections: impl Into<Option<usize>>) {
        let connections = connections.into();
        self.change(|control| control.limits.max_connections = connections);
    }

    /// Changes [`max_per_ip`](crate::Builder::max_per_ip). Requests that were accepted without such a
    /// limit are not counted. 0 counts as 1. Has no effect on a server that forks and requires PROXY headers.
    #[doc(alias = "limit_conn")]
    pub fn set_max_per_ip(&self, requests: impl Into<Option<usize>>) {
        let requests = requests.into();
        self.change(|control| control.limits.max_per_ip = requests);
    }

    /// Changes [`ipv6_prefix`](crate::Builder::ipv6_prefix) for requests accepted from now on.
    pub fn set_ipv6_prefix(&self, bits: u8) {
        self.change(|control| control.limits.ipv6_prefix = bits);
    }

    /// Changes [`overload`](crate::Builder::overload). Requests in the pending queue stay there.
    pub fn set_overload(&self, policy: OverloadPolicy) {
        self.change(|control| control.limits.overload = policy);
    }

    /// Changes [`max_threads`](crate::Builder::max_threads); 0 counts as 1. Busy threads beyond a lower
    /// limit end after their request, idle ones after `thread_keep_alive`. Does nothing on a server
    /// without a pool.
    pub fn set_max_threads(&self, threads: usize) {
        if let Some(gauge) = &self.0.threads {
            gauge.set_limit(threads);
        }
        self.0.poller.notify();
    }

    /// Changes `max_children`; 0 counts as 1. Children beyond a lower limit stay until they end. Does
    /// nothing on a server that does not fork.
    pub fn set_max_children(&self, children: usize) {
        if let Some(processes) = self.children() {
            processes.set_limit(children);
        }
        self.0.poller.notify();
    }

    /// Stops accepting, and keeps the socket: new clients wait in the system's queue, datagrams in its
    /// buffer. Accepted requests go on. [`resume`](Self::resume) ends the pause.
    ///
    /// Never blocks. The accept loop applies it before it accepts the next client.
    #[doc(alias = "suspend")]
    pub fn pause(&self) {
        self.change(|control| control.listen = ListenState::Paused);
    }

    /// Stops accepting and listening: new clients are refused, and clients in the system's queue are
    /// disconnected, so that they can go elsewhere. Accepted requests go on. A TCP port stays reserved. A
    /// Unix socket's path is renamed to one that ends in `.closed`, and any program may take the path.
    /// [`resume`](Self::resume) undoes it; if another program has the path then, the server tries again
    /// until the path is free, and logs that.
    ///
    /// Datagrams cannot be refused in this way, nor clients of abstract Unix names or of a socket that
    /// was [adopted](crate::Builder::adopt), nor TCP clients on systems other than Linux. There it does
    /// what [`pause`](Self::pause) does, and logs that.
    pub fn stop_listening(&self) {
        self.change(|control| control.listen = ListenState::Closed);
    }

    /// Accepts again after [`pause`](Self::pause) or [`stop_listening`](Self::stop_listening).
    pub fn resume(&self) {
        self.change(|control| control.listen = ListenState::Open);
    }

    /// Whether [`pause`](Self::pause) or [`stop_listening`](Self::stop_listening) was called last, and
    /// not [`resume`](Self::resume). The accept loop may not have applied it yet.
    pub fn is_paused(&self) -> bool {
        self.control().listen != ListenState::Open
    }

    /// Whether the server is ready, which its [health check](crate::health) shows: a load balancer sends new
    /// clients to servers that are. A server that is not accepts and serves as usual. Default true.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
    /// let handle = server.handle();
    /// handle.set_ready(false);
    /// // Load what the handlers need.
    /// handle.set_ready(true);
    /// assert!(handle.is_ready());
    /// handle.shutdown();
    /// assert!(!handle.is_ready());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("readiness", "health check", "lame duck"))]
    pub fn set_ready(&self, ready: bool) {
        self.0.not_ready.store(!ready, Ordering::SeqCst);
    }

    /// False after [`set_ready(false)`](Self::set_ready), while it is [paused](Self::is_paused), and from
    /// [`shutdown`](Self::shutdown) on, also during the [drain delay](crate::Builder::drain_delay). It does not look at
    /// whether the server is served: it is true before `serve_forever`, and after `stop_serving`.
    pub fn is_ready(&self) -> bool {
        let is_set = !self.0.not_ready.load(Ordering::SeqCst);
        is_set && !self.is_paused() && !self.is_shutting_down()
    }

    fn change(&self, change: impl FnOnce(&mut Control)) {
        let mut control = self.0.control.lock();
        change(&mut control);
        control.changes += 1;
        let changes = &self.0.control_changes;
        changes.store(control.changes, Ordering::SeqCst);
        drop(control);
        self.0.poller.notify();
    }

    pub(crate) fn control(&self) -> Control {
        *self.0.control.lock()
    }

    /// Reads the control again if it was changed. If not, this takes no lock, because the accept loop calls it for each
    /// request.
    #[inline]
    pub(crate) fn refresh(&self, control: &mut Control) {
        if control.changes != self.0.control_changes.load(Ordering::SeqCst) {
            *control = self.control();
        }
    }
}

/// What the accept loop reads before it accepts.
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) limits: Limits,
    pub(crate) listen: ListenState,
    /// How often it was changed.
    changes: u64,
}

impl Control {
    pub(super) fn new(limits: Limits) -> Self {
        Control {
            limits,
            listen: ListenState::Open,
            changes: 0,
        }
    }
}

/// Whether the server accepts, and what new clients see if not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListenState {
    #[default]
    Open,
    /// They wait in the system's queue.
    Paused,
    /// The system refuses them.
    Closed,
}

impl ListenState {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            ListenState::Open => "accepting again",
            ListenState::Paused => "paused; new clients wait",
            ListenState::Closed => "stopped listening; new clients are refused",
        }
    }
}
