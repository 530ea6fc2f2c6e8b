use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::acceptor::AcceptState;
use super::admission::RejectPool;
use super::backoff::Backoff;
use super::request_log::SaturationLog;
use super::service::{HandlerFn, Service, from_closure, from_factory};
use super::{Hooks, Server};
use crate::dispatch::Dispatch;
use crate::error::HandlerResult;
use crate::handle::{HandleConfig, ListenState};
use crate::handler::{HandlerFactory, RequestHandler};
use crate::limits::Limits;
use crate::listener::{Bind, Listener};
use crate::options::{SocketOptions, StreamOptions};
use crate::request::Lifecycle;
use crate::restart::{ListeningSocket, SocketName};
use crate::sync::Mutex;
use crate::{ServerHandle, restart};

/// The settings of a server: Python's class attributes and overridden methods.
///
/// Made by [`Server::builder`]. [`bind`](Self::bind) makes the server; [`bind_fn`](Self::bind_fn) does so
/// with a closure for a handler, [`adopt`](Self::adopt) with a socket that exists, and
/// [`unbound`](Self::unbound) without binding it.
///
/// ```
/// use std::time::Duration;
///
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = ThreadingTcpServer::builder()
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
    pub(super) name: Option<String>,
    pub(super) sockets: SocketOptions,
    pub(super) streams: StreamOptions,
    pub(super) limits: Limits,
    pub(super) dispatch: D,
    pub(super) hooks: Option<Box<dyn Hooks<L::Request>>>,
    /// `None` until it is set: then the dispatcher's default applies.
    pub(super) timeout: Option<Option<Duration>>,
    pub(super) poll_interval: Duration,
    pub(super) drain_delay: Duration,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) block_on_close: bool,
}

impl<L: Listener, D> Builder<L, D> {
    pub(super) fn new(dispatch: D) -> Self {
        Builder {
            name: None,
            sockets: SocketOptions::default(),
            streams: StreamOptions::default(),
            limits: Limits::default(),
            dispatch,
            hooks: None,
            timeout: None,
            poll_interval: Duration::from_millis(500),
            drain_delay: Duration::ZERO,
            shutdown_timeout: Some(Duration::from_secs(30)),
            block_on_close: true,
        }
    }
}

/// Making the server.
impl<L: Listener, D: Dispatch> Builder<L, D> {
    /// Makes a server, bound and listening. `make_handler` is a handler factory: it is called for each
    /// request, and returns its handler. In Python this is the handler class.
    ///
    /// # Errors
    ///
    /// The address does not parse or resolve, is in use, or needs a privilege. The message names the
    /// address and what can be done. `InvalidInput` for a timeout or lifetime of zero, a
    /// `max_packet_size` that is too large, a `thread_name` with a NUL byte, or settings that exclude each
    /// other. Nothing stays open.
    pub fn bind<A, F, H>(self, address: A, make_handler: F) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
        F: HandlerFactory<H> + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        self.bind_service(address, from_factory(make_handler))
    }

    /// [`bind`](Self::bind) with a closure that handles each request.
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
    /// If a name has several addresses, the first one is used.
    ///
    /// # Errors
    ///
    /// The address does not parse or resolve; the socket cannot be opened.
    pub fn unbound<A, F, H>(self, address: A, make_handler: F) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
        F: HandlerFactory<H> + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        self.unbound_service(address, from_factory(make_handler))
    }

    /// [`unbound`](Self::unbound) with a closure that handles each request.
    ///
    /// # Errors
    ///
    /// Those of [`unbound`](Self::unbound).
    pub fn unbound_fn<A, F>(self, address: A, handle: F) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
        F: Fn(&mut L::Request) -> HandlerResult + Send + Sync + 'static,
    {
        self.unbound_service(address, from_closure(handle))
    }

    /// Makes a server of a socket that exists already, for example one from a service manager (feature `systemd`), or of a
    /// [`Listener`] of your own.
    ///
    /// The socket must be bound. It is activated, but not bound again, so the options and the hook for
    /// binding have no effect. `request_queue_size` and `max_packet_size` do apply.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the socket has the wrong type; errors of the activation.
    #[doc(alias("socket activation", "from_raw_fd"))]
    pub fn adopt<F, H>(self, socket: impl Into<L>, make_handler: F) -> io::Result<Server<L, D>>
    where
        F: HandlerFactory<H> + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        self.adopt_service(socket.into(), from_factory(make_handler))
    }

    /// [`adopt`](Self::adopt) with a closure that handles each request.
    ///
    /// # Errors
    ///
    /// Those of [`adopt`](Self::adopt).
    pub fn adopt_fn<F>(self, socket: impl Into<L>, handle: F) -> io::Result<Server<L, D>>
    where
        F: Fn(&mut L::Request) -> HandlerResult + Send + Sync + 'static,
    {
        self.adopt_service(socket.into(), from_closure(handle))
    }

    fn unbound_service<A>(
        self,
        address: A,
        run_handler: Box<HandlerFn<L::Request>>,
    ) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
    {
        self.check()?;
        let first = L::open(address, &self.sockets)?.into_iter().next();
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        self.build(first.ok_or_else(none)?, None, run_handler)
    }

    fn adopt_service(
        self,
        mut listener: L,
        run_handler: Box<HandlerFn<L::Request>>,
    ) -> io::Result<Server<L, D>> {
        self.check()?;
        listener.set_options(&self.sockets);
        listener.server_activate()?;
        let name = SocketName::of_adopted(&listener);
        self.build(listener, Some(name), run_handler)
    }

    fn bind_service<A>(
        self,
        address: A,
        run_handler: Box<HandlerFn<L::Request>>,
    ) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
    {
        self.check()?;
        let mut failed = None;
        for mut listener in restart::inherited_first(L::open(address, &self.sockets)?) {
            match self.bind_and_activate(&mut listener) {
                Ok(name) => return self.build(listener, Some(name), run_handler),
                Err(error) => failed = Some(error),
            }
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        Err(failed.unwrap_or_else(none))
    }

    fn check(&self) -> io::Result<()> {
        self.sockets.check()?;
        self.streams.check()?;
        self.check_proxy_protocol()?;
        self.check_tls()?;
        self.dispatch.check()
    }

    fn check_tls(&self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if self.streams.tls.max_handshakes.is_some() && self.dispatch.child_processes().is_some() {
            let message = "max_handshakes does not work in a server that forks; use max_children";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn check_proxy_protocol(&self) -> io::Result<()> {
        let forks = self.dispatch.child_processes().is_some();
        let has_limit = self.limits.max_per_ip.is_some();
        if self.streams.proxy_protocol.is_some() && has_limit && forks {
            let message = "max_per_ip and proxy_protocol do not work together in a server that forks: only the child knows the client's address";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    fn bind_and_activate(&self, listener: &mut L) -> io::Result<SocketName> {
        let name = super::bind(listener, self.hooks.as_deref())?;
        super::activate(listener, self.hooks.as_deref())?;
        Ok(name)
    }

    fn build(
        self,
        listener: L,
        // Of a socket that is active.
        name: Option<SocketName>,
        run_handler: Box<HandlerFn<L::Request>>,
    ) -> io::Result<Server<L, D>> {
        /// Python's default for servers that fork.
        const FORKING_TIMEOUT: Duration = Duration::from_secs(300);
        let address = listener.local_address()?;
        let children = self.dispatch.child_processes();
        let forks = children.is_some();
        let handle = ServerHandle::new(
            address.clone(),
            HandleConfig {
                name: self.name,
                is_stream: L::Request::OWNS_SOCKET,
                streams: self.streams,
                limits: self.limits,
                drain_delay: self.drain_delay,
                shutdown_timeout: self.shutdown_timeout,
                threads: self.dispatch.thread_gauge(),
                children,
                #[cfg(feature = "green")]
                tasks: self.dispatch.task_list(),
            },
        )?;
        if name.is_some() {
            handle.set_bound(address);
        }
        let active = name.is_some();
        let listening = name.map(|name| ListeningSocket::list(&listener, name, &handle));
        Ok(Server {
            listener: Some(listener),
            active,
            listening,
            dispatch: self.dispatch,
            handle,
            timeout: self.timeout.unwrap_or(forks.then_some(FORKING_TIMEOUT)),
            // Without hooks there is nothing to do periodically.
            poll_interval: self.hooks.is_some().then_some(self.poll_interval),
            service: Arc::new(Service {
                hooks: self.hooks,
                run_handler,
            }),
            accept_state: Mutex::new(AcceptState {
                pending: VecDeque::new(),
                saturation: SaturationLog::default(),
                listen: ListenState::Open,
                backoff: Backoff::default(),
            }),
            reject_pool: RejectPool::new(!forks),
            block_on_close: self.block_on_close,
        })
    }
}

#[cfg(all(test, feature = "fork"))]
mod tests {
    use super::*;
    use crate::{ForkingTcpServer, TcpServer};

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn only_servers_that_fork_have_a_default_timeout() {
        let plain = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        let forking = ForkingTcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        assert_eq!(plain.timeout, None);
        assert_eq!(forking.timeout, Some(Duration::from_secs(300)));
        let unlimited = ForkingTcpServer::builder().timeout(None);
        let unlimited = unlimited.bind_fn(ANY, |_| Ok(())).expect("a port is free");
        assert_eq!(unlimited.timeout, None);
    }
}
