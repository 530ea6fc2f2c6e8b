//! The servers, their builder, and their hooks.
//!
//! | | [`Inline`]: one request after the other | [`ThreadPool`]: concurrent, on threads | `Fork`: concurrent, in processes |
//! |---|---|---|---|
//! | [`Tcp`] | [`TcpServer`] | [`ThreadingTcpServer`] | `ForkingTcpServer` |
//! | [`Unix`] | [`UnixStreamServer`] | [`ThreadingUnixStreamServer`] | `ForkingUnixStreamServer` |
//! | [`Udp`] | [`UdpServer`] | [`ThreadingUdpServer`] | `ForkingUdpServer` |
//! | [`UnixDatagram`] | [`UnixDatagramServer`] | [`ThreadingUnixDatagramServer`] | `ForkingUnixDatagramServer` |

mod acceptor;
mod admission;
mod background;
mod backoff;
mod builder;
mod client;
mod group;
mod hooks;
#[cfg(all(test, shuttle))]
mod model;
mod request_log;
mod service;
mod settings;
mod signals;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use self::acceptor::AcceptState;
use self::admission::RejectPool;
pub use self::background::BackgroundServer;
pub use self::builder::Builder;
#[cfg(feature = "fork")]
pub use self::forking::*;
#[cfg(feature = "green")]
pub use self::green::*;
pub use self::group::ServerGroup;
pub use self::hooks::Hooks;
use self::service::Service;
use crate::dispatch::{Dispatch, Inline, ThreadPool};
use crate::error::{HandlerResult, catch_and_log};
use crate::handler::{HandlerFactory, RequestHandler};
use crate::listener::{Bind, Listener, Tcp, Udp, Unix, UnixDatagram};
use crate::log_line::log_line;
use crate::restart::{ListeningSocket, SocketName};
use crate::sync::Mutex;
use crate::{Address, ServerHandle, restart, task};

/// TCP, one connection after the other. Python's `TCPServer`.
#[doc(alias = "TCPServer")]
pub type TcpServer = Server<Tcp, Inline>;
/// TCP, each connection on a thread. Python's `ThreadingTCPServer`.
#[doc(alias = "ThreadingTCPServer")]
pub type ThreadingTcpServer = Server<Tcp, ThreadPool>;
/// UDP, one datagram after the other. Python's `UDPServer`.
#[doc(alias = "UDPServer")]
pub type UdpServer = Server<Udp, Inline>;
/// UDP, each datagram on a thread. Python's `ThreadingUDPServer`.
#[doc(alias = "ThreadingUDPServer")]
pub type ThreadingUdpServer = Server<Udp, ThreadPool>;
/// Unix stream sockets, one connection after the other. Python's `UnixStreamServer`.
pub type UnixStreamServer = Server<Unix, Inline>;
/// Unix stream sockets, each connection on a thread. Python's `ThreadingUnixStreamServer`.
pub type ThreadingUnixStreamServer = Server<Unix, ThreadPool>;
/// Unix datagram sockets, one datagram after the other. Python's `UnixDatagramServer`.
pub type UnixDatagramServer = Server<UnixDatagram, Inline>;
/// Unix datagram sockets, each datagram on a thread. Python's `ThreadingUnixDatagramServer`.
pub type ThreadingUnixDatagramServer = Server<UnixDatagram, ThreadPool>;

/// Feature `fork`.
#[cfg(feature = "fork")]
mod forking {
    use super::{Server, Tcp, Udp, Unix, UnixDatagram};
    use crate::dispatch::Fork;

    /// TCP, a separate process for each connection. Python's `ForkingTCPServer`. Feature `fork`.
    #[doc(alias = "ForkingTCPServer")]
    pub type ForkingTcpServer = Server<Tcp, Fork>;
    /// UDP, a separate process for each datagram. Python's `ForkingUDPServer`. Feature `fork`.
    #[doc(alias = "ForkingUDPServer")]
    pub type ForkingUdpServer = Server<Udp, Fork>;
    /// Unix stream sockets, each connection in a process of its own. Feature `fork`.
    pub type ForkingUnixStreamServer = Server<Unix, Fork>;
    /// Unix datagram sockets, each datagram in a process of its own. Feature `fork`.
    pub type ForkingUnixDatagramServer = Server<UnixDatagram, Fork>;
}

/// Feature `green`.
#[cfg(feature = "green")]
mod green {
    use super::{Server, Tcp, Udp, Unix, UnixDatagram};
    use crate::dispatch::Green;

    /// TCP, many connections on each thread. Feature `green`.
    pub type GreenTcpServer = Server<Tcp, Green>;
    /// UDP, many datagrams on each thread. Feature `green`.
    pub type GreenUdpServer = Server<Udp, Green>;
    /// Unix stream sockets, many connections on each thread. Feature `green`.
    pub type GreenUnixStreamServer = Server<Unix, Green>;
    /// Unix datagram sockets, many datagrams on each thread. Feature `green`.
    pub type GreenUnixDatagramServer = Server<UnixDatagram, Green>;
}

/// A server: a [`Listener`] that accepts requests, and a [`Dispatch`] that runs them. Python's
/// `BaseServer`.
///
/// Use one of the aliases, such as [`ThreadingTcpServer`].
///
/// Dropping it closes it: first the socket, then it waits for running requests, unless
/// [`block_on_close`](Builder::block_on_close) is false.
#[doc(alias("BaseServer", "TCPServer", "UDPServer"))]
pub struct Server<L: Listener, D: Dispatch> {
    /// `None` once the server is closed.
    listener: Option<L>,
    active: bool,
    dispatch: D,
    handle: ServerHandle,
    service: Arc<Service<L::Request>>,
    accept_state: Mutex<AcceptState<L::Request>>,
    reject_pool: RejectPool,
    /// `None` until it is bound, and once it is closed.
    listening: Option<ListeningSocket>,
    timeout: Option<Duration>,
    poll_interval: Option<Duration>,
    block_on_close: bool,
}

impl<L: Listener, D: Dispatch + Default> Server<L, D> {
    /// A builder, for a server that needs more than an address and a handler.
    pub fn builder() -> Builder<L, D> {
        Builder::new(D::default())
    }

    /// A server with the default settings. See [`Builder::bind`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::bind`].
    pub fn bind<A, F, H>(address: A, make_handler: F) -> io::Result<Self>
    where
        L: Bind<A>,
        F: HandlerFactory<H> + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        Self::builder().bind(address, make_handler)
    }

    /// A server with the default settings and a closure for a handler. See [`Builder::bind_fn`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::bind`].
    pub fn bind_fn<A, F>(address: A, handle: F) -> io::Result<Self>
    where
        L: Bind<A>,
        F: Fn(&mut L::Request) -> HandlerResult + Send + Sync + 'static,
    {
        Self::builder().bind_fn(address, handle)
    }
}

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// The address it is bound to, with the real port where port 0 was requested. A program may also bind
    /// the socket of an [`unbound`](Builder::unbound) server itself; [handles](Self::handle) know the
    /// address after this call or [`server_activate`](Self::server_activate).
    pub fn server_address(&self) -> &Address {
        let is_bound = self.handle.is_bound();
        if let Some(listener) = self.listener.as_ref().filter(|_| !is_bound) {
            let local = listener.local_address().ok();
            // Before the bind, this is the requested address.
            if let Some(local) = local.filter(|local| local != self.handle.server_address()) {
                self.handle.set_bound(local);
            }
        }
        self.handle.server_address()
    }

    /// A handle for other threads: statistics, limits, pause, shutdown.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Begins a graceful shutdown, and returns at once. See [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.handle.shutdown();
    }

    /// The listener.
    pub fn listener(&self) -> &L {
        self.listener
            .as_ref()
            .expect("there is a listener until the server is closed")
    }

    /// The dispatcher. For one of your own that wraps another one:
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use socketserver::dispatch::{Dispatch, Job, ThreadGauge, ThreadPool, Waker};
    /// use socketserver::prelude::*;
    ///
    /// /// A pool that counts its jobs.
    /// #[derive(Default)]
    /// struct Counting {
    ///     pool: ThreadPool,
    ///     jobs: AtomicU64,
    /// }
    ///
    /// impl Dispatch for Counting {
    ///     fn dispatch(&self, job: Job) {
    ///         self.jobs.fetch_add(1, Ordering::Relaxed);
    ///         self.pool.dispatch(job);
    ///     }
    ///
    ///     fn has_capacity(&self, waker: &Waker) -> bool {
    ///         self.pool.has_capacity(waker)
    ///     }
    ///
    ///     fn thread_gauge(&self) -> Option<ThreadGauge> {
    ///         self.pool.thread_gauge()
    ///     }
    ///
    ///     fn join(&self, server: &ServerHandle) {
    ///         self.pool.join(server);
    ///     }
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let builder = TcpServer::builder().dispatch(Counting::default());
    /// let server = builder.bind_fn("127.0.0.1:0", |_| Ok(()))?;
    /// std::net::TcpStream::connect(server.server_address())?;
    /// server.handle_request()?;
    /// assert_eq!(server.dispatch().jobs.load(Ordering::Relaxed), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A server in the background takes its dispatcher along: keep a clone of an `Arc<Counting>`, which is a
    /// dispatcher too.
    pub fn dispatch(&self) -> &D {
        &self.dispatch
    }

    /// Binds the socket of a server made with [`unbound`](Builder::unbound).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is bound; the errors of [`Builder::bind`], and of the hook
    /// [`server_bind`](Hooks::server_bind).
    pub fn server_bind(&mut self) -> io::Result<()> {
        let listener = self
            .listener
            .as_mut()
            .expect("there is a listener until the server is closed");
        if self.handle.is_bound() {
            let message = format!(
                "the server on {} is bound already",
                self.handle.server_address()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let name = bind(listener, self.service.hooks.as_deref())?;
        self.handle.set_bound(listener.local_address()?);
        self.listening = Some(ListeningSocket::list(listener, name, &self.handle));
        Ok(())
    }

    /// Activates (listens on) the socket of a server made with [`unbound`](Builder::unbound), after
    /// [`server_bind`](Self::server_bind).
    ///
    /// # Errors
    ///
    /// What the socket and the hook [`server_activate`](Hooks::server_activate) report.
    pub fn server_activate(&mut self) -> io::Result<()> {
        let listener = self
            .listener
            .as_mut()
            .expect("there is a listener until the server is closed");
        activate(listener, self.service.hooks.as_deref())?;
        // Does nothing after `server_bind`.
        self.handle.set_bound(listener.local_address()?);
        self.listening.get_or_insert_with(|| {
            // The program has bound it.
            let name = SocketName::of_adopted(listener);
            ListeningSocket::list(listener, name, &self.handle)
        });
        self.active = true;
        Ok(())
    }

    /// Closes the server, as dropping it does: the socket at once, then it waits for running requests,
    /// unless [`block_on_close`](Builder::block_on_close) is false. It does not wait for a request on the
    /// calling thread. A [`drain_delay`](Builder::drain_delay) ends then.
    pub fn server_close(self) {
        drop(self);
    }

    fn close_socket(&mut self) {
        self.handle.shutdown_now();
        self.listening = None;
        let listener = self.listener.take();
        catch_and_log("the drop of the listener", || drop(listener));
    }

    fn close(&mut self) {
        self.close_socket();
        self.reject_pending(&mut self.accept_state.lock());
        if self.block_on_close {
            task::blocking(|| self.wait_for_requests());
        }
        if let Some(hooks) = &self.service.hooks {
            catch_and_log("server_close", || hooks.server_close(&self.handle));
        }
        signals::unregister(&self.handle);
        #[cfg(feature = "systemd")]
        crate::systemd::unregister(&self.handle);
        self.handle.set_closed();
    }

    fn wait_for_requests(&self) {
        let name = self.handle.log_name();
        let running = self.handle.registry().present();
        if running > 0 {
            log_line!(target: "socketserver::server", Info, "{name}: waiting for running requests: {running}");
        }
        match self.handle.wait_for_requests().0 {
            0 => {
                catch_and_log("join", || self.dispatch.join(&self.handle));
                self.reject_pool.join(&self.handle);
                self.handle.wait_for_lingering();
            }
            unfinished => log_line!(
                target: "socketserver::server", Error,
                "{name}: closed although {unfinished} requests do not end"
            ),
        }
    }
}

impl<L: Listener, D: Dispatch> Drop for Server<L, D> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The listening socket, for a poll loop of your own with
/// [`handle_request`](Server::handle_request). Python's `fileno`.
impl<L: Listener, D: Dispatch> AsFd for Server<L, D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener().as_fd()
    }
}

impl<L: Listener, D: Dispatch> fmt::Debug for Server<L, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// Binds it, unless the process was started with its socket.
fn bind<L: Listener>(
    listener: &mut L,
    hooks: Option<&dyn Hooks<L::Request>>,
) -> io::Result<SocketName> {
    let (is_bound, name) = restart::take_over(listener)?;
    if !is_bound {
        if let Some(hooks) = hooks {
            hooks.server_bind(listener.as_fd())?;
        }
        listener.server_bind()?;
    }
    Ok(name)
}

fn activate<L: Listener>(
    listener: &mut L,
    hooks: Option<&dyn Hooks<L::Request>>,
) -> io::Result<()> {
    if let Some(hooks) = hooks {
        let address = listener.local_address()?;
        hooks.server_activate(listener.as_fd(), &address)?;
    }
    listener.server_activate()
}
