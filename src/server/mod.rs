//! The servers, and what is said to them before and while they serve.
//!
//! | | [`Inline`]: one request after the other | [`ThreadPool`]: side by side | `Fork`: side by side, in processes |
//! |---|---|---|---|
//! | [`Tcp`] | [`TcpServer`] | [`ThreadingTcpServer`] | `ForkingTcpServer` |
//! | [`Unix`] | [`UnixStreamServer`] | [`ThreadingUnixStreamServer`] | `ForkingUnixStreamServer` |
//! | [`Udp`] | [`UdpServer`] | [`ThreadingUdpServer`] | `ForkingUdpServer` |
//! | [`UnixDatagram`] | [`UnixDatagramServer`] | [`ThreadingUnixDatagramServer`] | `ForkingUnixDatagramServer` |

mod accept_error;
mod arrival;
#[cfg(feature = "fork")]
mod away;
mod background;
mod builder;
mod ctrlc;
mod door;
mod entrance;
mod hooks;
mod journal;
mod lobby;
#[cfg(all(test, shuttle))]
mod model;
mod rejections;
mod serve;
mod service;
mod settings;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

pub use self::accept_error::{AfterError, on_accept_error};
use self::arrival::Arrival;
pub use self::background::BackgroundServer;
pub use self::builder::Builder;
pub use self::hooks::Hooks;
use self::lobby::Lobby;
use self::rejections::Rejections;
use self::service::{Service, shielded};
#[cfg(feature = "fork")]
use crate::dispatch::Fork;
use crate::dispatch::{Dispatch, Inline, ThreadPool};
use crate::error::HandlerResult;
use crate::handler::RequestHandler;
use crate::limits::RejectReason;
use crate::listener::{Bind, Listener, Tcp, Udp, Unix, UnixDatagram};
use crate::registry::Place;
use crate::sync::Mutex;
use crate::{Address, ServerHandle};

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
/// Unix stream sockets, one connection after the other. Python's class of that name.
pub type UnixStreamServer = Server<Unix, Inline>;
/// Unix stream sockets, each connection on a thread. Python's class of that name.
pub type ThreadingUnixStreamServer = Server<Unix, ThreadPool>;
/// Unix datagram sockets, one datagram after the other. Python's class of that name.
pub type UnixDatagramServer = Server<UnixDatagram, Inline>;
/// Unix datagram sockets, each datagram on a thread. Python's class of that name.
pub type ThreadingUnixDatagramServer = Server<UnixDatagram, ThreadPool>;

/// TCP, each connection in a process of its own. Python's `ForkingTCPServer`. Feature `fork`.
#[cfg(feature = "fork")]
#[doc(alias = "ForkingTCPServer")]
pub type ForkingTcpServer = Server<Tcp, Fork>;
/// UDP, each datagram in a process of its own. Python's `ForkingUDPServer`. Feature `fork`.
#[cfg(feature = "fork")]
#[doc(alias = "ForkingUDPServer")]
pub type ForkingUdpServer = Server<Udp, Fork>;
/// Unix stream sockets, each connection in a process of its own. Python's class of that name. Feature
/// `fork`.
#[cfg(feature = "fork")]
pub type ForkingUnixStreamServer = Server<Unix, Fork>;
/// Unix datagram sockets, each datagram in a process of its own. Python's class of that name. Feature
/// `fork`.
#[cfg(feature = "fork")]
pub type ForkingUnixDatagramServer = Server<UnixDatagram, Fork>;

/// A server: a [`Listener`] that requests come from, and a [`Dispatch`] that runs them. Python's
/// `BaseServer`.
///
/// Use one of the aliases, such as [`ThreadingTcpServer`].
///
/// It is closed when dropped: the socket first, so that no client waits in vain, then, unless
/// [`block_on_close`](Builder::block_on_close) was turned off, it waits for the requests that run.
pub struct Server<L: Listener, D: Dispatch> {
    /// There until the server is closed.
    listener: Option<L>,
    active: bool,
    dispatch: D,
    handle: ServerHandle,
    service: Arc<Service<L::Request>>,
    lobby: Mutex<Lobby<L::Request>>,
    rejections: Rejections,
    timeout: Option<Duration>,
    poll_interval: Option<Duration>,
    block_on_close: bool,
}

impl<L: Listener, D: Dispatch + Default> Server<L, D> {
    /// Starts a server that is to be told more than an address and a handler.
    pub fn builder() -> Builder<L, D> {
        Builder::new(D::default())
    }

    /// A server with the default settings. See [`Builder::bind`].
    ///
    /// # Errors
    ///
    /// Those of [`Builder::bind`].
    pub fn bind<A, F, H>(address: A, handler: F) -> io::Result<Self>
    where
        L: Bind<A>,
        F: Fn() -> H + Send + Sync + 'static,
        H: RequestHandler<L::Request>,
    {
        Self::builder().bind(address, handler)
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
    /// The address it is bound to, with the real port where 0 was asked for.
    pub fn server_address(&self) -> &Address {
        self.handle.server_address()
    }

    /// A handle to use from elsewhere: statistics, limits, suspend and resume, shutdown.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Tells the server to stop, and returns at once. See [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.handle.shutdown();
    }

    /// The listener, for what a listener of your own has to say.
    pub fn listener(&self) -> &L {
        self.listener
            .as_ref()
            .expect("the listener is there until the server is closed")
    }

    /// Binds the socket of a server made with [`unbound`](Builder::unbound).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is bound; those of [`Builder::bind`], and of the hook
    /// [`server_bind`](Hooks::server_bind).
    pub fn server_bind(&mut self) -> io::Result<()> {
        let listener = self
            .listener
            .as_mut()
            .expect("the listener is there until the server is closed");
        if self.handle.is_bound() {
            let message = format!(
                "the server on {} is bound already",
                self.handle.server_address()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        bind(listener, &*self.service.hooks)?;
        self.handle.set_bound(listener.local_address()?);
        Ok(())
    }

    /// Makes a server listen that was made with [`unbound`](Builder::unbound) and is bound.
    ///
    /// # Errors
    ///
    /// What the socket and the hook [`server_activate`](Hooks::server_activate) report.
    pub fn server_activate(&mut self) -> io::Result<()> {
        let listener = self
            .listener
            .as_mut()
            .expect("the listener is there until the server is closed");
        activate(listener, &*self.service.hooks)?;
        self.active = true;
        Ok(())
    }

    /// Closes the server, as dropping it does: the socket at once, then it waits for running
    /// requests, unless [`block_on_close`](Builder::block_on_close) was turned off. A request on
    /// the calling thread is not waited for.
    pub fn server_close(self) {
        drop(self);
    }

    fn close(&mut self) {
        self.handle.shutdown();
        drop(self.listener.take());
        self.clear(&mut self.lobby.lock());
        if self.block_on_close {
            self.say_what_is_waited_for();
            match self.handle.wait_for_requests().0 {
                0 => {
                    self.dispatch.join();
                    self.rejections.join();
                }
                left => log::error!(
                    target: "socketserver::server",
                    "closing {} over {left} requests that do not end", self.server_address()
                ),
            }
        }
        shielded("server_close", || {
            self.service.hooks.server_close(&self.handle)
        });
        ctrlc::forget(&self.handle);
        self.handle.set_closed();
    }
}

impl<L: Listener, D: Dispatch> Server<L, D> {
    fn reject(&self, arrival: Arrival<L::Request>, why: RejectReason) {
        self.rejections.reject(arrival, why, &self.service);
    }

    fn reject_queued(&self, mut arrival: Arrival<L::Request>, why: RejectReason) {
        arrival.ticket.go(Place::rejected(why));
        self.reject(arrival, why);
    }

    /// Rejects all that wait for room, for there will be none.
    fn clear(&self, lobby: &mut Lobby<L::Request>) {
        while let Some(arrival) = lobby.pop() {
            self.reject_queued(arrival, RejectReason::Shutdown);
        }
    }

    fn say_what_is_waited_for(&self) {
        let running = self.handle.registry().present();
        if running > 0 {
            log::info!(
                target: "socketserver::server",
                "{}: waiting for {running} running requests", self.server_address()
            );
        }
    }
}

impl<L: Listener, D: Dispatch> Drop for Server<L, D> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The listening socket, to be put into a poll loop of your own beside
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

fn bind<L: Listener>(listener: &mut L, hooks: &dyn Hooks<L::Request>) -> io::Result<()> {
    hooks.server_bind(listener.as_fd())?;
    listener.server_bind()
}

fn activate<L: Listener>(listener: &mut L, hooks: &dyn Hooks<L::Request>) -> io::Result<()> {
    let address = listener.local_address()?;
    hooks.server_activate(listener.as_fd(), &address)?;
    listener.server_activate()
}
