//! The builder's setters: every default is stated here, and set in [`Builder::new`] and in
//! `options.rs`.

use std::time::Duration;

use super::{Builder, Hooks};
#[cfg(feature = "fork")]
use crate::dispatch::Fork;
use crate::dispatch::{Dispatch, ThreadPool};
use crate::limits::OverloadPolicy;
use crate::listener::Listener;
use crate::request::{DatagramRequest, StreamRequest};

/// Settings of every server.
impl<L: Listener, D> Builder<L, D> {
    /// What a Python program overrides on its server class. The last call counts.
    pub fn hooks(mut self, hooks: impl Hooks<L::Request>) -> Self {
        self.hooks = Some(Box::new(hooks));
        self
    }

    /// Runs requests through a dispatcher of your own.
    pub fn dispatch<E: Dispatch>(self, dispatch: E) -> Builder<L, E> {
        Builder {
            sockets: self.sockets,
            streams: self.streams,
            limits: self.limits,
            dispatch,
            hooks: self.hooks,
            timeout: self.timeout,
            poll_interval: self.poll_interval,
            shutdown_timeout: self.shutdown_timeout,
            block_on_close: self.block_on_close,
            daemon_threads: self.daemon_threads,
        }
    }

    /// `SO_REUSEADDR`: lets a restarted server bind while old connections are in `TIME_WAIT`, on
    /// systems other than Linux if the server before it was told so too. Not for Unix sockets.
    /// Default false, as in Python.
    pub fn allow_reuse_address(mut self, allow: bool) -> Self {
        self.sockets.allow_reuse_address = allow;
        self
    }

    /// `SO_REUSEPORT`: lets several servers share the port, each with a queue of its own. Not for
    /// Unix sockets. Default false.
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.sockets.allow_reuse_port = allow;
        self
    }

    /// Whether a server bound to an IPv6 address takes IPv4 clients too: `[::]:80` is then both.
    /// Default false, whatever the system's own default.
    pub fn dual_stack(mut self, both: bool) -> Self {
        self.sockets.dual_stack = both;
        self
    }

    /// How long [`handle_request`](super::Server::handle_request) waits for a request; `None` is for
    /// ever. Default: for ever, and 300 s for servers that fork, as in Python.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = Some(timeout.into());
        self
    }

    /// How often [`service_actions`](Hooks::service_actions) runs while there are no requests.
    /// Default 0.5 s. A server without hooks sleeps for as long as nothing happens; shutdown never
    /// waits for this.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How long a shutdown lets running requests go on before their connections are ended, by a reset
    /// each. Default 30 s; `None` waits for as long as they take.
    ///
    /// What does not end then either, within half a second, is left behind: see
    /// [`ServerHandle::shutdown_within`](crate::ServerHandle::shutdown_within).
    pub fn shutdown_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.shutdown_timeout = timeout.into();
        self
    }

    /// The most requests at once, from accept to close, and so a bound for the memory and
    /// descriptors that clients can take. Nothing more is accepted at the bound, unless
    /// [`overload`](Self::overload) says otherwise: then those that are queued, or wait to be
    /// rejected, 1,024 at most, have a descriptor too. Threads have [a bound of their
    /// own](Self::max_threads): there may be some more of them than requests, for a thread needs a
    /// moment to become idle. A [detached](StreamRequest::detach) connection counts until its
    /// handler has ended. 0 counts as 1. Default, and `None`: what the dispatcher bounds, threads,
    /// children or one at a time.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.limits.max_connections = connections.into();
        self
    }

    /// The most requests of one source at once, be they handled or queued. What comes beyond that
    /// is [rejected](Hooks::reject_request). A source is an IPv4 address, or a network of IPv6
    /// addresses (see [`ipv6_prefix`](Self::ipv6_prefix)); clients on Unix sockets have none, and
    /// are not counted. 0 counts as 1. Default, and `None`: no such bound.
    pub fn max_per_ip(mut self, requests: impl Into<Option<usize>>) -> Self {
        self.limits.max_per_ip = requests.into();
        self
    }

    /// How many bits of IPv6 addresses make one source for
    /// [`max_per_ip`](Self::max_per_ip). Default 64, a network of one subscriber; 128 tells
    /// every address apart.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.limits.ipv6_prefix = bits;
        self
    }

    /// What becomes of new clients while there is no room. Default
    /// [`OverloadPolicy::Wait`](crate::OverloadPolicy::Wait).
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
/// No time limit is set by default, for none suits every protocol. A server that strangers can
/// reach needs a [`max_lifetime`](Self::max_lifetime), or an [`idle_timeout`](Self::idle_timeout) with a
/// [`read_timeout`](Self::read_timeout), and a [`write_timeout`](Self::write_timeout). What each
/// does to a handler is told at [`Hooks::handle_error`].
impl<L: Listener<Request = StreamRequest>, D> Builder<L, D> {
    /// How many clients may wait in the kernel to be accepted. Default: as many as the system
    /// allows (Python: 5).
    #[doc(alias = "backlog")]
    pub fn request_queue_size(mut self, clients: u32) -> Self {
        self.sockets.request_queue_size = i32::try_from(clients).unwrap_or(i32::MAX);
        self
    }

    /// How long each read may block before it fails with `TimedOut`; for one request,
    /// [`StreamRequest::set_read_timeout`]. While a handler waits for a request, an
    /// [idle timeout](Self::idle_timeout) holds in its place. Default, and `None`: for ever. With
    /// [`write_timeout`](Self::write_timeout) it is Python's `StreamRequestHandler.timeout`.
    pub fn read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.read_timeout = timeout.into();
        self
    }

    /// How long each write may block before it fails with `TimedOut`. Default, and `None`: for
    /// ever.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.write_timeout = timeout.into();
        self
    }

    /// How long a connection may be idle: wait for a request in
    /// [`wait_for_data`](StreamRequest::wait_for_data), or, if its handler has written nothing, for its
    /// first byte. Its handler then sees the end of the stream. In `wait_for_data` and
    /// [`next_line`](StreamRequest::next_line) it holds in place of the
    /// [read timeout](Self::read_timeout), which is for the parts of a request then.
    /// `Duration::MAX` is for ever. Default, and `None`: no idle timeout, and the read timeout
    /// holds there too.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.streams.idle_timeout = timeout.into();
        self
    }

    /// How long a connection may take in all, from the start of its handler. It is ended then,
    /// whatever it does, by a reset, so that nothing looks complete to its client; its reads and
    /// writes fail with `TimedOut`. A client that sends a byte now and then cannot put it off, as it
    /// can a read timeout. A handler that does neither read nor write goes on. A connection of many
    /// requests has this much time for all of them; [`StreamRequest::set_max_lifetime`] gives each its
    /// own. A [detached](StreamRequest::detach) connection has no deadline any more. Default, and
    /// `None`: for ever.
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.streams.max_lifetime = lifetime.into();
        self
    }

    /// `TCP_NODELAY`. Default false, as in Python. Set it for handlers that write an answer in
    /// several pieces, or [buffer](Self::wbufsize) their writes.
    #[doc(alias = "nodelay")]
    pub fn disable_nagle_algorithm(mut self, disable: bool) -> Self {
        self.streams.disable_nagle_algorithm = disable;
        self
    }

    /// The size of `rfile`'s buffer in bytes. Default 8,192. With 0 nothing is read ahead: each
    /// line costs a system call per byte.
    pub fn rbufsize(mut self, bytes: usize) -> Self {
        self.streams.rbufsize = bytes;
        self
    }

    /// The size of `wfile`'s buffer in bytes. Default 0: each write is sent at once, as in Python.
    ///
    /// What is buffered is sent after `finish`, and whenever `rfile` has to wait for the client. In
    /// Python a handler that forgets to flush before it reads the answer waits for ever.
    pub fn wbufsize(mut self, bytes: usize) -> Self {
        self.streams.wbufsize = bytes;
        self
    }

    /// The longest line that `rfile` takes, in bytes, with its newline. A longer one is an error,
    /// so that a client that never sends a newline cannot fill the memory. It bounds
    /// [`fill_more`](crate::request::Reader::fill_more) too. Default 65,536.
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.streams.max_line = bytes;
        self
    }
}

/// Settings of datagram servers.
impl<L: Listener<Request = DatagramRequest>, D> Builder<L, D> {
    /// The longest datagram that is received whole, in bytes. Of a longer one the handler gets the
    /// beginning, with [`truncated`](DatagramRequest::truncated) set. Default 8,192; 65,507 takes
    /// all there can be over UDP on IPv4.
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.sockets.max_packet_size = bytes;
        self
    }
}

/// Settings of forking servers.
#[cfg(feature = "fork")]
impl<L: Listener> Builder<L, Fork> {
    /// The most children at once; 0 counts as 1. At the bound there is no room for new clients:
    /// [`overload`](Self::overload) says what becomes of them. Default
    /// [`Fork::DEFAULT_MAX_CHILDREN`], 40 as in Python.
    pub fn max_children(mut self, children: usize) -> Self {
        self.dispatch = self.dispatch.max_children(children);
        self
    }
}

/// Settings of servers with threads.
impl<L: Listener> Builder<L, ThreadPool> {
    /// The most threads at once. At the bound there is no room for new clients:
    /// [`overload`](Self::overload) says what becomes of them. Default
    /// [`ThreadPool::DEFAULT_MAX_THREADS`].
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.dispatch = self.dispatch.max_threads(threads);
        self
    }

    /// How long a thread waits for its next request before it ends. Default 10 s.
    pub fn thread_keep_alive(mut self, time: Duration) -> Self {
        self.dispatch = self.dispatch.thread_keep_alive(time);
        self
    }

    /// Each thread's stack, in bytes. Default: Rust's own, 2 MiB or `RUST_MIN_STACK`. Only what is
    /// used takes memory.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.dispatch = self.dispatch.stack_size(bytes);
        self
    }

    /// What the threads are called; each name gets `-` and a number. Default `handler`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.dispatch = self.dispatch.thread_name(name);
        self
    }

    /// Whether the process may end over running requests: with true, closing the server waits for
    /// none. Default false.
    pub fn daemon_threads(mut self, daemon: bool) -> Self {
        self.daemon_threads = daemon;
        self
    }
}
