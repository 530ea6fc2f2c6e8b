//! The builder's setters. Each states its default, which is set in `Builder::new` and in `options.rs`.

use std::time::Duration;

use super::{Builder, Hooks};
#[cfg(feature = "fork")]
use crate::dispatch::Fork;
#[cfg(feature = "green")]
use crate::dispatch::Green;
use crate::dispatch::{Dispatch, ThreadPool};
use crate::limits::OverloadPolicy;
use crate::listener::Listener;
#[cfg(feature = "proxy-protocol")]
use crate::proxy_protocol::ProxyProtocol;
use crate::request::{DatagramRequest, StreamRequest};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

/// Settings of every server.
impl<L: Listener, D> Builder<L, D> {
    /// What a Python program overrides on its server class. The last call counts.
    pub fn hooks(mut self, hooks: impl Hooks<L::Request>) -> Self {
        self.hooks = Some(Box::new(hooks));
        self
    }

    /// A dispatcher of your own, or one that [several servers share](ThreadPool).
    pub fn dispatch<E: Dispatch>(self, dispatch: E) -> Builder<L, E> {
        Builder {
            name: self.name,
            sockets: self.sockets,
            streams: self.streams,
            limits: self.limits,
            dispatch,
            hooks: self.hooks,
            timeout: self.timeout,
            poll_interval: self.poll_interval,
            drain_delay: self.drain_delay,
            shutdown_timeout: self.shutdown_timeout,
            block_on_close: self.block_on_close,
        }
    }

    /// The server's name in log lines and in the label `server` of [metrics](crate::ServerHandle). Default: its
    /// kind and address, such as `tcp 127.0.0.1:53`. A server with a name, and one in a
    /// [group](super::ServerGroup), also writes it in front of each line about a request.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// `SO_REUSEADDR`: a restarted server can bind while connections of the old one are in `TIME_WAIT`.
    /// Does not apply to Unix sockets. Default true for TCP, as in Rust's `std`, Go and nginx (Python:
    /// false). Default false for UDP, where two servers would share the port.
    #[doc(alias("SO_REUSEADDR", "TIME_WAIT"))]
    pub fn allow_reuse_address(mut self, allow: bool) -> Self {
        self.sockets.allow_reuse_address = Some(allow);
        self
    }

    /// `SO_REUSEPORT`: several servers can share the port, each with its own queue. Does not apply to Unix
    /// sockets. Default false.
    #[doc(alias = "SO_REUSEPORT")]
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.sockets.allow_reuse_port = allow;
        self
    }

    /// Whether a server bound to an IPv6 address accepts IPv4 clients too, so that `[::]:80` is both.
    /// Default false, regardless of the system's default.
    #[doc(alias = "IPV6_V6ONLY")]
    pub fn dual_stack(mut self, both: bool) -> Self {
        self.sockets.dual_stack = both;
        self
    }

    /// How long [`handle_request`](super::Server::handle_request) waits for a request. `None` is no limit.
    /// Default: no limit, and 300 s for servers that fork, as in Python.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// How often [`service_actions`](Hooks::service_actions) runs while there are no requests. Default 0.5
    /// s. A server without hooks does not wake up for it, and a shutdown never waits for it.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How long the server still accepts and serves after [`shutdown`](crate::ServerHandle::shutdown) or a
    /// signal, before the graceful shutdown begins. Default zero.
    ///
    /// Meanwhile it is not [ready](crate::ServerHandle::is_ready), so that a load balancer takes it out before it
    /// refuses clients: set at least twice the interval of the [health checks](crate::health). Each connection
    /// ends after a message that begins in this time, when it is idle again; one without such a message
    /// ends when the shutdown begins. [`shutdown_timeout`](Self::shutdown_timeout) is counted from then.
    ///
    /// Only `shutdown` has the delay, because it does not wait.
    /// [`shutdown_within`](crate::ServerHandle::shutdown_within),
    /// [`BackgroundServer::stop`](super::BackgroundServer::stop), closing the server and a second signal begin at
    /// once, and end a delay that runs.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::builder()
    ///     .drain_delay(Duration::from_secs(5))
    ///     .bind_fn("127.0.0.1:0", |request| Ok(request.wfile.write_all(b"hello\n")?))?;
    /// let server = server.serve_in_background()?;
    /// server.handle().shutdown();
    /// assert!(!server.handle().is_ready());
    /// // It still accepts.
    /// let client = std::net::TcpStream::connect(server.server_address())?;
    /// let mut line = String::new();
    /// std::io::BufReader::new(client).read_line(&mut line)?;
    /// assert_eq!(line, "hello\n");
    /// // Without the rest of the delay.
    /// server.stop()
    /// # }
    /// ```
    #[doc(alias("lame duck", "preStop", "terminationGracePeriod"))]
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// How long a graceful shutdown lets running requests go on. After that it resets their connections
    /// (forced close). `None` is no limit. Default 30 s.
    ///
    /// Requests that have not ended half a second later are not waited for: see
    /// [`ServerHandle::shutdown_within`](crate::ServerHandle::shutdown_within).
    #[doc(alias("graceful shutdown", "drain timeout", "grace period"))]
    pub fn shutdown_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.shutdown_timeout = timeout.into();
        self
    }

    /// How long each write may take before it fails with `TimedOut`. `None` is no limit, and the default of
    /// stream servers. There it applies to each write of a connection, until the system has all of it, with
    /// the time that it waits for other threads that send.
    ///
    /// On datagram servers it applies to each reply and each
    /// [`send_to`](crate::request::DatagramSocket::send_to), which says more. Default 1 s: a Unix client
    /// that does not read must not stop the server. A server without threads serves nobody else meanwhile.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.write_timeout = timeout.into();
        self.streams.datagram_write_timeout = self.streams.write_timeout;
        self
    }

    /// How many requests there may be at once, from accept to close. This limits the memory and the
    /// descriptors that clients can take. 0 counts as 1. `None`, the default: the limit of the dispatcher
    /// (threads, children, or one request at a time) applies alone.
    ///
    /// At the limit nothing is accepted, unless [`overload`](Self::overload) is set: then requests
    /// in the pending queue, and requests that are being rejected (1,024 at most), have a descriptor too.
    /// [Threads](Self::max_threads) have a separate limit. There may be a few more threads than
    /// requests, because a thread becomes idle a moment after its request has ended. A
    /// [detached](StreamRequest::detach) connection counts until its handler has ended.
    #[doc(alias("worker_connections", "backpressure"))]
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.limits.max_connections = connections.into();
        self
    }

    /// How many requests of one client IP address there may be at once, served or in the pending queue.
    /// More are [rejected](Hooks::reject_request). IPv6 clients count by network (see
    /// [`ipv6_prefix`](Self::ipv6_prefix)); clients on Unix sockets are not counted. Clients that a PROXY header
    /// names are counted from there on. 0 counts as 1. `None`, the default, is no limit.
    #[doc(alias("limit_conn", "client IP"))]
    pub fn max_per_ip(mut self, requests: impl Into<Option<usize>>) -> Self {
        self.limits.max_per_ip = requests.into();
        self
    }

    /// How many bits of an IPv6 address count as one address for [`max_per_ip`](Self::max_per_ip). Default
    /// 64, the network of one subscriber; 128 counts each address.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.limits.ipv6_prefix = bits;
        self
    }

    /// What happens to new clients at a limit. Default [`OverloadPolicy::Wait`].
    #[doc(alias("backpressure", "load shedding"))]
    pub fn overload(mut self, policy: OverloadPolicy) -> Self {
        self.limits.overload = policy;
        self
    }

    /// Whether closing the server waits for requests on other threads. Default true.
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }
}

/// Settings of stream servers.
///
/// No time limit is set by default, because none fits every protocol. A server that strangers can reach
/// needs [`max_lifetime`](Self::max_lifetime), or [`idle_timeout`](Self::idle_timeout) and
/// [`read_timeout`](Self::read_timeout), and in any case [`write_timeout`](Self::write_timeout).
/// [`Hooks::handle_error`] lists what each of them does to a handler.
impl<L: Listener<Request = StreamRequest>, D> Builder<L, D> {
    /// How many clients may wait in the system's queue to be accepted. Default: the system's maximum
    /// (Python: 5).
    #[doc(alias = "backlog")]
    pub fn request_queue_size(mut self, clients: u32) -> Self {
        self.sockets.request_queue_size = i32::try_from(clients).unwrap_or(i32::MAX);
        self
    }

    /// How long each read may block before it fails with `TimedOut`. `None`, the default, is no limit.
    /// While a connection is idle, an [idle timeout](Self::idle_timeout) replaces it.
    /// [`StreamRequest::set_read_timeout`] sets it for one connection. Together with
    /// [`write_timeout`](Self::write_timeout) it is Python's `StreamRequestHandler.timeout`.
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.read_timeout = timeout.into();
        self
    }

    /// How long a connection may be idle: between two messages (see
    /// [`StreamRequest::wait_for_data`]), or, if its handler has written nothing, before its first byte.
    /// Then its handler sees the end of the stream. `Duration::MAX` lets it be idle without limit. `None`,
    /// the default: no idle timeout, and the [read timeout](Self::read_timeout) applies between messages
    /// too.
    #[doc(alias("keep-alive", "keepalive_timeout"))]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.idle_timeout = timeout.into();
        self
    }

    /// How long a connection may last, from the start of its handler. Then it is reset in any state,
    /// and its reads and writes fail with `TimedOut`. A client that sends a byte now and then can extend a
    /// read timeout, but not this. A handler that neither reads nor writes goes on. `None`, the default, is
    /// no limit.
    ///
    /// A connection with many messages has this time for all of them;
    /// [`StreamRequest::set_max_lifetime`] can give each message its own. It does not apply to a
    /// [detached](StreamRequest::detach) connection.
    #[doc(alias("deadline", "max_connection_age"))]
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.streams.max_lifetime = lifetime.into();
        self
    }

    /// `TCP_NODELAY`. Default false, as in Python. Set it for handlers that write a reply in several
    /// pieces, or that [buffer](Self::wbufsize) their writes.
    #[doc(alias("nodelay", "TCP_NODELAY"))]
    pub fn disable_nagle_algorithm(mut self, disable: bool) -> Self {
        self.streams.disable_nagle_algorithm = disable;
        self
    }

    /// The size of `rfile`'s buffer in bytes. Default 8,192. With 0 nothing is read ahead: a line takes one
    /// system call per byte.
    ///
    /// On threads its memory begins with 1 KiB, doubles up to this size when a read fills it, and becomes small again
    /// when messages are short.
    pub fn rbufsize(mut self, bytes: usize) -> Self {
        self.streams.rbufsize = bytes;
        self
    }

    /// The size of `wfile`'s buffer in bytes. Default 0: each write is sent at once, as in Python.
    ///
    /// The buffer is flushed after `finish`, and whenever `rfile` has to wait for the client. In Python a
    /// handler that reads the answer without flushing waits without end.
    pub fn wbufsize(mut self, bytes: usize) -> Self {
        self.streams.wbufsize = bytes;
        self
    }

    /// The maximum length of a line that `rfile` reads, in bytes, with its newline. A longer line is an
    /// error, so that a client that never sends a newline cannot fill the memory. It also limits
    /// [`fill_more`](crate::request::Reader::fill_more). Default 65,536.
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.streams.max_line = bytes;
        self
    }
}

/// Settings of TLS servers. Feature `tls`: see [`tls`](crate::tls).
#[cfg(feature = "tls")]
impl<L: Listener<Request = StreamRequest>, D> Builder<L, D> {
    /// Makes it a TLS server: each connection begins with a handshake, before `setup`. `None`, the default, is plain
    /// text. Python's `SSLContext.wrap_socket` in `get_request`.
    #[doc(alias("ssl", "https", "wrap_socket"))]
    pub fn tls(mut self, config: impl Into<Option<TlsConfig>>) -> Self {
        self.streams.tls.config = config.into();
        self
    }

    /// How long a handshake may take, with the time that it waits for [others](Self::max_handshakes), also one of
    /// [`start_tls`](StreamRequest::start_tls). `None` is no limit. Default 10 s.
    #[doc(alias = "ssl_handshake_timeout")]
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.tls.handshake_timeout = timeout.into();
        self
    }

    /// How many handshakes may compute at once; 0 counts as 1. More wait, within their
    /// [timeout](Self::handshake_timeout). A handshake that waits for its client does not count, so a slow client keeps
    /// nobody out. Not for servers that fork. `None`, the default, is no limit.
    pub fn max_handshakes(mut self, handshakes: impl Into<Option<usize>>) -> Self {
        self.streams.tls.max_handshakes = handshakes.into();
        self
    }
}

/// Feature `proxy-protocol`.
#[cfg(feature = "proxy-protocol")]
impl<L: Listener<Request = StreamRequest>, D> Builder<L, D> {
    /// Whether each connection must begin with a PROXY header, which names the client of a proxy. `None`, the
    /// default: no connection may. See the module [`proxy_protocol`](crate::proxy_protocol).
    ///
    /// ```
    /// use socketserver::prelude::*;
    /// use socketserver::proxy_protocol::ProxyProtocol;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = TcpServer::builder()
    ///     .proxy_protocol(ProxyProtocol::required(["10.1.0.0/16"])?)
    ///     .max_per_ip(10) // Of one client, not of the proxy.
    ///     .bind_fn("127.0.0.1:0", |_| Ok(()))?;
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("HAProxy", "accept-proxy", "client IP"))]
    pub fn proxy_protocol(mut self, proxies: impl Into<Option<ProxyProtocol>>) -> Self {
        self.streams.proxy_protocol = proxies.into();
        self
    }
}

/// Settings of lingering close.
///
/// A client that still sends when its connection is closed gets a reset, and that can destroy the reply on
/// its way. So the server closes its sending side only, discards what arrives, and closes the socket when
/// the client has ended the stream, or at one of these limits. Connections without a reply are closed at
/// once, and so are those that a forced close, `abort` or `max_lifetime` ends.
///
/// One thread of the process does this for all servers. A lingering connection counts neither for
/// [`max_connections`](Self::max_connections) nor for [`max_per_ip`](Self::max_per_ip), but it has a
/// descriptor. Closing the server waits until clients have received what was sent to them, at most for
/// `lingering_timeout` and the [`shutdown_timeout`](Self::shutdown_timeout); then all are closed. With
/// [`block_on_close(false)`](Self::block_on_close) it does not wait, and they stay until a limit. The end of
/// the process closes them too. A forked child lingers by itself before it ends, and counts meanwhile; so it
/// does that for two seconds at most, and ends when its client has received everything and sends nothing for
/// a quarter of a second.
impl<L: Listener<Request = StreamRequest>, D> Builder<L, D> {
    /// How long a client may send nothing. Default 5 s, as in nginx. Checked every quarter of a second.
    #[doc(alias("lingering_close", "SO_LINGER"))]
    pub fn lingering_timeout(mut self, timeout: Duration) -> Self {
        self.streams.linger.timeout = timeout;
        self
    }

    /// How long a connection lingers at most. Default 30 s, as in nginx.
    pub fn lingering_time(mut self, time: Duration) -> Self {
        self.streams.linger.time = time;
        self
    }

    /// How many bytes of one connection are discarded at most. Default 64 MiB.
    pub fn lingering_bytes(mut self, bytes: u64) -> Self {
        self.streams.linger.bytes = bytes;
        self
    }

    /// How many connections linger at once. Those above the limit are closed at once. Default 1,024; 0
    /// turns lingering off.
    pub fn max_lingering(mut self, connections: usize) -> Self {
        self.streams.linger.max = connections;
        self
    }
}

/// Settings of datagram servers.
impl<L: Listener<Request = DatagramRequest>, D> Builder<L, D> {
    /// The maximum length of a datagram in bytes. A longer one is truncated: the handler gets the
    /// beginning, and [`truncated`](DatagramRequest::truncated) is set. Default 8,192. No UDP datagram over
    /// IPv4 is longer than 65,507.
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.sockets.max_packet_size = bytes;
        self
    }
}

/// Settings of forking servers.
#[cfg(feature = "fork")]
impl<L: Listener> Builder<L, Fork> {
    /// How many child processes there may be at once; 0 counts as 1. At the limit
    /// [`overload`](Self::overload) applies to new clients. Default [`Fork::DEFAULT_MAX_CHILDREN`], 40 as in
    /// Python.
    pub fn max_children(mut self, children: usize) -> Self {
        self.dispatch = self.dispatch.max_children(children);
        self
    }
}

/// Settings of green servers. Feature `green`.
#[cfg(feature = "green")]
impl<L: Listener> Builder<L, Green> {
    /// How many threads run the tasks; 0 counts as 1. They start with the first request. Default:
    /// [`std::thread::available_parallelism`], which is the number of cores that the process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.dispatch = self.dispatch.workers(workers);
        self
    }

    /// The size of each task's stack, in bytes of address space: only pages that were used take memory. A
    /// task that needs more ends the process, with a message that names this setting. At least 16 KiB; debug
    /// builds need more than release builds. Default [`Green::DEFAULT_STACK_SIZE`], 256 KiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.dispatch = self.dispatch.stack_size(bytes);
        self
    }

    /// How many requests there may be at once; 0 counts as 1. The second half of [`task::join`](crate::task::join) does
    /// not count. At the limit [`overload`](Self::overload) applies to
    /// new clients. Default [`Green::DEFAULT_MAX_TASKS`], 100,000: more than a process
    /// has descriptors, usually. Requests that wait for a worker count too, so it limits the memory of a flood of
    /// datagrams.
    pub fn max_tasks(mut self, tasks: usize) -> Self {
        self.dispatch = self.dispatch.max_tasks(tasks);
        self
    }
}

/// Settings of servers with threads.
impl<L: Listener> Builder<L, ThreadPool> {
    /// How many threads there may be at once; 0 counts as 1. At the limit [`overload`](Self::overload)
    /// applies to new clients. Default [`ThreadPool::DEFAULT_MAX_THREADS`], 4,096.
    ///
    /// Linux has memory mappings for about [15,500 threads](crate::guide::scale#which-limit-comes-first) of a program,
    /// unless `vm.max_map_count` is raised. A client that needs one more is closed with an error.
    #[doc(alias = "max_workers")]
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.dispatch = self.dispatch.max_threads(threads);
        self
    }

    /// How long a thread waits for its next request before it ends. Default 10 s.
    pub fn thread_keep_alive(mut self, time: Duration) -> Self {
        self.dispatch = self.dispatch.thread_keep_alive(time);
        self
    }

    /// The size of each thread's stack, in bytes. Default: Rust's own, 2 MiB or `RUST_MIN_STACK`. Only used
    /// pages take memory.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.dispatch = self.dispatch.stack_size(bytes);
        self
    }

    /// The name of the threads; `-` and a number are added. It has no NUL byte. Default `handler`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.dispatch = self.dispatch.thread_name(name);
        self
    }

    /// Whether the program may end while requests run: true is `block_on_close(false)`, false is
    /// `block_on_close(true)`, and the last of these calls counts. Default false.
    pub fn daemon_threads(self, daemon: bool) -> Self {
        self.block_on_close(!daemon)
    }
}
