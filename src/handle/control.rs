use super::ServerHandle;
use crate::limits::{Limits, OverloadPolicy};
use crate::statistics::Statistics;

/// What can be changed and asked while a server serves.
impl ServerHandle {
    /// What the server has done so far and is doing now. Cheap, but for one look at each open
    /// connection.
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
        if let Some(gauge) = &self.0.threads {
            statistics.threads = gauge.threads();
            statistics.peak_threads = gauge.peak();
        }
        statistics
    }

    /// Changes [`max_connections`](crate::Builder::max_connections) from now on. Those beyond a
    /// lower bound stay until they end. 0 counts as 1.
    pub fn set_max_connections(&self, connections: impl Into<Option<usize>>) {
        let connections = connections.into();
        self.change(|control| control.limits.max_connections = connections);
    }

    /// Changes [`max_per_ip`](crate::Builder::max_per_ip) from now on. Requests that came
    /// in without such a bound are not counted. 0 counts as 1.
    pub fn set_max_per_ip(&self, requests: impl Into<Option<usize>>) {
        let requests = requests.into();
        self.change(|control| control.limits.max_per_ip = requests);
    }

    /// Changes [`ipv6_prefix`](crate::Builder::ipv6_prefix) from now on. Requests that were counted
    /// with their source stay so.
    pub fn set_ipv6_prefix(&self, bits: u8) {
        self.change(|control| control.limits.ipv6_prefix = bits);
    }

    /// Changes [`overload`](crate::Builder::overload) from now on. What is queued stays queued.
    pub fn set_overload(&self, policy: OverloadPolicy) {
        self.change(|control| control.limits.overload = policy);
    }

    /// Changes [`max_threads`](crate::Builder::max_threads) from now on; 0 counts as 1. Threads beyond
    /// a lower bound end after the request they run, idle ones after their idle time. A server without
    /// threads has no such bound, and nothing is done.
    pub fn set_max_threads(&self, threads: usize) {
        if let Some(gauge) = &self.0.threads {
            gauge.set_limit(threads);
        }
        self.0.bell.ring();
    }

    /// Changes `max_children` from now on; 0 counts as 1. Children beyond a lower bound stay until they
    /// end. A server that does not fork has no such bound, and nothing is done.
    pub fn set_max_children(&self, children: usize) {
        if let Some(list) = self.children() {
            list.set_most(children);
        }
        self.0.bell.ring();
    }

    /// Stops accepting, and keeps the socket: new clients wait in the kernel's queue, datagrams in
    /// its buffer. Requests that were accepted go on. Lasts until [`resume`](Self::resume).
    ///
    /// Never blocks; the serving thread heeds it before it accepts again.
    pub fn pause(&self) {
        self.change(|control| control.door = Door::Suspended);
    }

    /// Stops accepting, and stops listening too: new clients are refused, and those that waited in
    /// the kernel's queue are let go, so that they can go elsewhere. A TCP port stays reserved; a Unix
    /// socket's path is moved aside, to one that ends in `.suspended`, and anybody may take it. Lasts
    /// until [`resume`](Self::resume), which waits for the path if somebody has it: the log says so.
    ///
    /// Datagrams cannot be refused in this way, nor clients of abstract Unix names or of a socket that
    /// was [adopted](crate::Builder::adopt), nor TCP clients on systems other than Linux; for these it
    /// is [`suspend`](Self::pause), and the log says so.
    pub fn stop_listening(&self) {
        self.change(|control| control.door = Door::Refusing);
    }

    /// Accepts again.
    pub fn resume(&self) {
        self.change(|control| control.door = Door::Open);
    }

    /// Whether the server was told to [suspend](Self::pause) accepting, in either way. It may not
    /// have heeded that yet.
    pub fn is_paused(&self) -> bool {
        self.control().door != Door::Open
    }

    /// What was last said, as one.
    pub(crate) fn control(&self) -> Control {
        *self.0.control.lock()
    }

    fn change(&self, change: impl FnOnce(&mut Control)) {
        change(&mut self.0.control.lock());
        self.0.bell.ring();
    }
}

/// What the serving thread asks before it accepts.
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) limits: Limits,
    pub(crate) door: Door,
}

impl Control {
    pub(super) fn new(limits: Limits) -> Self {
        Control {
            limits,
            door: Door::Open,
        }
    }
}

/// Whether new clients are let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Door {
    #[default]
    Open,
    /// They wait in the kernel's queue.
    Suspended,
    /// The kernel turns them away.
    Refusing,
}

impl Door {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Door::Open => "accepting again",
            Door::Suspended => "suspended; new clients wait",
            Door::Refusing => "suspended; new clients are refused",
        }
    }
}
