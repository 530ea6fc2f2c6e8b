use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::hooks::NoHooks;
use super::service::{FinishRequest, Service, from_closure, from_factory};
use super::{Hooks, Server};
use crate::ServerHandle;
use crate::dispatch::{Dispatch, ThreadPool};
use crate::error::HandlerResult;
use crate::handler::RequestHandler;
use crate::listener::{Bind, Listener};
use crate::options::{SocketOptions, StreamOptions};
use crate::request::{DatagramRequest, StreamRequest};

/// Everything a server is told before it exists, in one place: Python's class attributes and
/// overridden methods.
///
/// Made by [`Server::builder`]; ended by [`bind`](Self::bind), [`bind_fn`](Self::bind_fn),
/// [`adopt`](Self::adopt) or [`unbound`](Self::unbound).
///
/// ```
/// use std::time::Duration;
///
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = ThreadingTcpServer::builder()
///     .allow_reuse_address(true)
///     .max_threads(100)
///     .read_timeout(Duration::from_secs(30))
///     .bind_fn("127.0.0.1:0", |request| {
///         let line = request.rfile.readline(1024)?;
///         request.wfile.write_all(&line)?;
///         Ok(())
///     })?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is bound"]
pub struct Builder<L: Listener, D> {
    sockets: SocketOptions,
    streams: StreamOptions,
    dispatch: D,
    hooks: Option<Box<dyn Hooks<L::Request>>>,
    timeout: Option<Duration>,
    poll_interval: Duration,
    block_on_close: bool,
    daemon_threads: bool,
}

/// Ending the builder: making the server.
impl<L: Listener, D: Dispatch> Builder<L, D> {
    /// Binds and activates a server. `handler` makes the handler of each request; it is Python's
    /// handler class.
    ///
    /// # Errors
    ///
    /// The address does not parse or resolve, is in use, or needs a privilege; the message names
    /// it. Nothing is left open.
    pub fn bind<A, F, H>(self, address: A, handler: F) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
        F: Fn() -> H + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        self.bind_service(address, from_factory(handler))
    }

    /// The same with a closure for a handler.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_fn<A, F>(self, address: A, handle: F) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
        F: Fn(&mut L::Request) -> HandlerResult + Send + Sync + 'static,
    {
        self.bind_service(address, from_closure(handle))
    }

    /// Makes a server whose socket is open but not bound. Python's `bind_and_activate=False`: call
    /// [`server_bind`](Server::server_bind) and [`server_activate`](Server::server_activate) before
    /// serving.
    ///
    /// Of a name with several addresses, the first is taken.
    ///
    /// # Errors
    ///
    /// The address does not parse or resolve; the socket cannot be opened.
    pub fn unbound<A, F, H>(self, address: A, handler: F) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
        F: Fn() -> H + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        let first = L::open(address, &self.sockets)?.into_iter().next();
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        self.build(first.ok_or_else(none)?, false, from_factory(handler))
    }

    /// Makes a server of a socket that exists already, one inherited or passed on by a service
    /// manager, or of a [`Listener`] of your own.
    ///
    /// The socket is not bound again, so the options and the hook for that have no effect; it is
    /// activated.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the socket is of the wrong kind; what activating it reports.
    pub fn adopt<F, H>(self, socket: impl Into<L>, handler: F) -> io::Result<Server<L, D>>
    where
        F: Fn() -> H + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        let mut listener = socket.into();
        listener.server_activate()?;
        self.build(listener, true, from_factory(handler))
    }

    fn bind_service<A>(
        self,
        address: A,
        handle: Box<FinishRequest<L::Request>>,
    ) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
    {
        let mut failed = None;
        for mut listener in L::open(address, &self.sockets)? {
            match self.bind_and_activate(&mut listener) {
                Ok(()) => return self.build(listener, true, handle),
                Err(error) => failed = Some(error),
            }
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        Err(failed.unwrap_or_else(none))
    }

    fn bind_and_activate(&self, listener: &mut L) -> io::Result<()> {
        let hooks: &dyn Hooks<L::Request> = self.hooks.as_deref().unwrap_or(&NoHooks);
        super::bind(listener, hooks)?;
        super::activate(listener, hooks)
    }

    fn build(
        self,
        listener: L,
        active: bool,
        finish_request: Box<FinishRequest<L::Request>>,
    ) -> io::Result<Server<L, D>> {
        let handle = ServerHandle::new(listener.local_address()?, self.streams)?;
        Ok(Server {
            listener: Some(listener),
            active,
            dispatch: self.dispatch,
            handle,
            timeout: self.timeout,
            // Without hooks there is nothing to do between requests, and the thread sleeps on.
            poll_interval: self.hooks.is_some().then_some(self.poll_interval),
            service: Arc::new(Service {
                hooks: self.hooks.unwrap_or_else(|| Box::new(NoHooks)),
                finish_request,
            }),
            block_on_close: self.block_on_close && !self.daemon_threads,
        })
    }
}

/// Settings of every server.
impl<L: Listener, D> Builder<L, D> {
    pub(super) fn new(dispatch: D) -> Self {
        Builder {
            sockets: SocketOptions::default(),
            streams: StreamOptions::default(),
            dispatch,
            hooks: None,
            timeout: None,
            poll_interval: Duration::from_millis(500),
            block_on_close: true,
            daemon_threads: false,
        }
    }

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
            dispatch,
            hooks: self.hooks,
            timeout: self.timeout,
            poll_interval: self.poll_interval,
            block_on_close: self.block_on_close,
            daemon_threads: self.daemon_threads,
        }
    }

    /// `SO_REUSEADDR`: lets a restarted server bind while old connections are in `TIME_WAIT`. Not
    /// for Unix sockets. Default false, as in Python.
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

    /// How long [`handle_request`](Server::handle_request) waits for a request. Default: for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How often [`service_actions`](Hooks::service_actions) runs while there are no requests.
    /// Default 0.5 s. A server without hooks sleeps for as long as nothing happens; shutdown never
    /// waits for this.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Whether closing the server waits for requests on other threads. Default true.
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }
}

/// Settings of stream servers.
impl<L: Listener<Request = StreamRequest>, D> Builder<L, D> {
    /// How many clients may wait in the kernel to be accepted. Default: as many as the system
    /// allows (Python: 5).
    #[doc(alias = "backlog")]
    pub fn request_queue_size(mut self, clients: u32) -> Self {
        self.sockets.request_queue_size = i32::try_from(clients).unwrap_or(i32::MAX);
        self
    }

    /// How long each read may block before it fails with `TimedOut`; for one request,
    /// [`StreamRequest::set_read_timeout`]. Default: for ever. With
    /// [`write_timeout`](Self::write_timeout) it is Python's `StreamRequestHandler.timeout`.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.streams.read_timeout = Some(timeout);
        self
    }

    /// How long each write may block before it fails with `TimedOut`. Default: for ever.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.streams.write_timeout = Some(timeout);
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
    pub fn wbufsize(mut self, bytes: usize) -> Self {
        self.streams.wbufsize = bytes;
        self
    }

    /// The longest line that `rfile` takes, in bytes, with its newline. A longer one is an error,
    /// so that a client that never sends a newline cannot fill the memory. Default 65,536.
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

/// Settings of servers with threads.
impl<L: Listener> Builder<L, ThreadPool> {
    /// The most requests at once. At the bound nothing more is accepted until one has ended.
    /// Default [`ThreadPool::DEFAULT_MAX_THREADS`].
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.dispatch = self.dispatch.max_threads(threads);
        self
    }

    /// How long a thread waits for its next request before it ends. Default 10 s.
    pub fn idle_time(mut self, time: Duration) -> Self {
        self.dispatch = self.dispatch.idle_time(time);
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
