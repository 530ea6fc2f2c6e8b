use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::hooks::NoHooks;
use super::lobby::Lobby;
use super::rejections::Rejections;
use super::service::{FinishRequest, Service, from_closure, from_factory};
use super::{Hooks, Server};
use crate::ServerHandle;
use crate::children::Children;
use crate::dispatch::Dispatch;
use crate::error::HandlerResult;
use crate::handle::Terms;
use crate::handler::RequestHandler;
use crate::limits::Limits;
use crate::listener::{Bind, Listener};
use crate::options::{SocketOptions, StreamOptions};
use crate::sync::Mutex;

/// Everything a server is told before it exists, in one place: Python's class attributes and
/// overridden methods.
///
/// Made by [`Server::builder`]; ended by [`bind`](Self::bind), [`adopt`](Self::adopt), their twins
/// for closures, or [`unbound`](Self::unbound).
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
    pub(super) sockets: SocketOptions,
    pub(super) streams: StreamOptions,
    pub(super) limits: Limits,
    pub(super) dispatch: D,
    pub(super) hooks: Option<Box<dyn Hooks<L::Request>>>,
    /// `None` until it is told: then the dispatcher's own.
    pub(super) timeout: Option<Option<Duration>>,
    pub(super) poll_interval: Duration,
    pub(super) shutdown_timeout: Option<Duration>,
    pub(super) block_on_close: bool,
    pub(super) daemon_threads: bool,
}

impl<L: Listener, D> Builder<L, D> {
    pub(super) fn new(dispatch: D) -> Self {
        Builder {
            sockets: SocketOptions::default(),
            streams: StreamOptions::default(),
            limits: Limits::default(),
            dispatch,
            hooks: None,
            timeout: None,
            poll_interval: Duration::from_millis(500),
            shutdown_timeout: Some(Duration::from_secs(30)),
            block_on_close: true,
            daemon_threads: false,
        }
    }
}

/// Ending the builder: making the server.
impl<L: Listener, D: Dispatch> Builder<L, D> {
    /// Binds and activates a server. `handler` makes the handler of each request; it is Python's
    /// handler class.
    ///
    /// # Errors
    ///
    /// The address does not parse or resolve, is in use, or needs a privilege; the message names
    /// it. `InvalidInput` for a timeout or
    /// deadline of zero, or a `max_packet_size` that is too large. Nothing is left open.
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
        self.unbound_service(address, from_factory(handler))
    }

    /// [`unbound`](Self::unbound) with a closure for a handler.
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
        self.adopt_service(socket.into(), from_factory(handler))
    }

    /// [`adopt`](Self::adopt) with a closure for a handler.
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
        handle: Box<FinishRequest<L::Request>>,
    ) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
    {
        self.check()?;
        let first = L::open(address, &self.sockets)?.into_iter().next();
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        self.build(first.ok_or_else(none)?, false, handle)
    }

    fn adopt_service(
        self,
        mut listener: L,
        handle: Box<FinishRequest<L::Request>>,
    ) -> io::Result<Server<L, D>> {
        self.check()?;
        listener.server_activate()?;
        self.build(listener, true, handle)
    }

    fn bind_service<A>(
        self,
        address: A,
        handle: Box<FinishRequest<L::Request>>,
    ) -> io::Result<Server<L, D>>
    where
        L: Bind<A>,
    {
        self.check()?;
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

    fn check(&self) -> io::Result<()> {
        self.sockets.check()?;
        self.streams.check()
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
        let address = listener.local_address()?;
        let children = self.dispatch.children();
        let timeout = self
            .timeout
            .unwrap_or_else(|| children.as_ref().map(|_| Children::TIMEOUT));
        let terms = Terms {
            streams: self.streams,
            limits: self.limits,
            shutdown_timeout: self.shutdown_timeout,
            threads: self.dispatch.thread_gauge(),
            children,
        };
        let handle = ServerHandle::new(address.clone(), terms)?;
        if active {
            handle.set_bound(address);
        }
        let rejections = Rejections::new(self.dispatch.may_start_threads());
        Ok(Server {
            listener: Some(listener),
            active,
            dispatch: self.dispatch,
            handle,
            timeout,
            // Without hooks there is nothing to do between requests, and the thread sleeps on.
            poll_interval: self.hooks.is_some().then_some(self.poll_interval),
            service: Arc::new(Service {
                hooks: self.hooks.unwrap_or_else(|| Box::new(NoHooks)),
                finish_request,
            }),
            lobby: Mutex::new(Lobby::new()),
            rejections,
            block_on_close: self.block_on_close && !self.daemon_threads,
        })
    }
}

#[cfg(all(test, feature = "fork"))]
mod tests {
    use super::*;
    use crate::{ForkingTcpServer, TcpServer};

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn only_servers_that_fork_have_a_timeout_of_their_own() {
        let plain = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        let forking = ForkingTcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
        assert_eq!(plain.timeout, None);
        assert_eq!(forking.timeout, Some(Duration::from_secs(300)));
        let told = ForkingTcpServer::builder().timeout(None);
        let told = told.bind_fn(ANY, |_| Ok(())).expect("a port is free");
        assert_eq!(told.timeout, None);
    }
}
