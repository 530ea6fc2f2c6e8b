//! TCP, UDP and Unix-socket servers in plain, blocking Rust: write a handler, pick a server, serve. It is
//! Python's `socketserver` with a limited thread pool, timeouts, limits per client, and a graceful
//! shutdown.
//!
//! **Not for you** if your program is `async` already, or if you want HTTP rather than bytes, lines and
//! datagrams.
//!
//! ```no_run
//! use socketserver::prelude::*;
//!
//! struct Upper;
//!
//! impl RequestHandler for Upper {
//!     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
//!         for line in &mut request.rfile {
//!             request.wfile.write_all(&line?.to_ascii_uppercase())?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let server = ThreadingTcpServer::bind("127.0.0.1:9999", || Upper)?;
//!     server.shutdown_on_ctrlc()?;
//!     server.serve_forever()
//! }
//! ```
//!
//! Read on in [`guide`] (which dispatch, limits, shutdown, glossary) and, if you come from Python, in [`porting`] (every
//! name of Python's module, and twenty-one idioms in both languages).
//!
//! # Servers
//!
//! | | one request at a time | concurrent, on threads |
//! |---|---|---|
//! | TCP | [`TcpServer`] | [`ThreadingTcpServer`] |
//! | Unix stream | [`UnixStreamServer`] | [`ThreadingUnixStreamServer`] |
//! | UDP | [`UdpServer`] | [`ThreadingUdpServer`] |
//! | Unix datagram | [`UnixDatagramServer`] | [`ThreadingUnixDatagramServer`] |
//!
//! The feature `green` adds servers for tens of thousands of busy connections, which run the same handlers many on
//! each thread: `GreenTcpServer`, `GreenUnixStreamServer`, `GreenUdpServer`, `GreenUnixDatagramServer`.
//! [`guide::dispatch`] compares them all.
//!
//! The feature `fork` adds servers that run each request in a process of its own: `ForkingTcpServer`,
//! `ForkingUnixStreamServer`, `ForkingUdpServer`, `ForkingUnixDatagramServer`.
//!
//! All are [`Server`]s. [`Server::builder`] has the settings. A closure can be a handler:
//! [`Server::bind_fn`]. A [`ServerHandle`] stops a server from another thread, a signal or a handler.
//! [`Server::serve_in_background`] returns a guard that stops it when dropped. A [`ServerGroup`] serves
//! several servers as one: TCP beside UDP, several addresses.
//!
//! # The way of a request
//!
//! accept → [`verify_request`](Hooks::verify_request) → dispatch → [`setup`](RequestHandler::setup) →
//! [`handle`](RequestHandler::handle) → [`finish`](RequestHandler::finish) → close
//!
//! The guide has [a diagram](guide::connection) with all limits and hooks.
//!
//! - [`listener`]: accepts requests. [`Listener`] is Python's server class.
//! - [`server`]: the accept loop, its builder and its [`Hooks`], which a Python program would override.
//! - [`dispatch`]: runs requests on threads, on green tasks or in processes. [`Dispatch`] is Python's mix-in
//!   class.
//! - [`RequestHandler`]: handles a request.
//! - [`request`]: the argument of a handler, [`StreamRequest`] or [`DatagramRequest`].
//!
//! Behind a load balancer, the feature `proxy-protocol` and its module `proxy_protocol` make `client_address` the
//! client's, and [`health`] answers its checks.
//!
//! As a systemd service, the feature `systemd` and its module `systemd` take sockets from systemd and report to it. With the
//! feature `restart` and its module `restart` a new process takes over from this one. [`guide::production`] has the steps.
//!
//! [`task`] waits in handlers, on a thread and on a green task alike.
//!
//! Two modules do not depend on servers, so clients use them too: [`framing`] (messages with a length in
//! front) and `auth` (HMAC challenge and response; feature `auth`).
//!
//! # Limits and timeouts
//!
//! [`Builder::max_connections`], [`Builder::max_per_ip`], `max_threads` and `max_tasks` limit how many requests there are
//! at once. [`OverloadPolicy`] selects what happens to further clients: they wait, are queued or are
//! rejected. [`Hooks::reject_request`] answers rejected clients.
//! [`Builder::read_timeout`], `write_timeout`, `idle_timeout` and `max_lifetime` limit how long a client may
//! take; none is set by default for connections. See [`guide::limits`].
//!
//! # Shutdown
//!
//! [`ServerHandle::shutdown`] is graceful: idle connections end, running requests finish. After
//! [`Builder::shutdown_timeout`] the rest is closed by force. Behind a load balancer, [`Builder::drain_delay`] and
//! [`health`] give it time to send clients elsewhere. See [`guide::shutdown`].
//!
//! # Errors and logging
//!
//! An error or panic of a request goes to [`Hooks::handle_error`] and ends that request only (with `panic =
//! "abort"` a panic ends the program). All other errors are `io::Error`s that name the address or path.
//!
//! The crate [`log`](https://docs.rs/log) gets what is logged, with one target per module:
//! `socketserver::server`, `socketserver::listener`, `socketserver::dispatch`, `socketserver::handler`.
//! **Nothing is visible, not even an error of a handler, until the program sets a logger**, at the
//! beginning of `main`. With the crate `simplelog`:
//!
//! ```
//! use simplelog::{Config, LevelFilter, WriteLogger};
//!
//! let _ = WriteLogger::init(LevelFilter::Info, Config::default(), std::io::stderr());
//! ```
//!
//! What is not printable in a line, such as line ends and escape codes that a client has chosen, is escaped.
//! A logger that panics affects no server and no client.
//!
//! Every line about a request has its number, [`StreamRequest::id`]. At debug level there are two lines for
//! each request: `request 7 from 192.0.2.1:4711: accepted` and `request 7 from 192.0.2.1:4711: finished
//! after 1.203s, 12 bytes in, 40 bytes out`.
//!
//! # Statistics
//!
//! [`ServerHandle::statistics`] counts requests by outcome, bytes and threads. The feature `metrics`
//! publishes them through the crate of that name: `ServerHandle::publish_metrics`.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("socketserver runs on Unix systems only, so far");

mod address;
#[cfg(feature = "auth")]
pub mod auth;
pub mod dispatch;
mod error;
pub mod framing;
#[cfg(feature = "green")]
mod green;
#[cfg(not(feature = "green"))]
mod no_green;
#[cfg(not(feature = "green"))]
use self::no_green as green;
mod handle;
mod handler;
pub mod health;
mod limits;
pub mod listener;
mod log_line;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "proxy-protocol"))]
mod no_proxy_protocol;
mod options;
pub mod porting;
#[cfg(feature = "proxy-protocol")]
pub mod proxy_protocol;
#[cfg(not(feature = "proxy-protocol"))]
use self::no_proxy_protocol as proxy_protocol;
#[cfg(not(feature = "restart"))]
mod no_restart;
mod rate_limit;
pub mod request;
#[cfg(feature = "restart")]
#[cfg_attr(docsrs, doc(cfg(feature = "restart")))]
pub mod restart;
#[cfg(not(feature = "restart"))]
use self::no_restart as restart;
pub mod server;
mod statistics;
/// The locks, channels, threads and the notifications of the thread pool, the permits and the accept loop.
///
/// A test build with `--cfg shuttle` replaces them with the types of `model`, which runs the code in many
/// different orders of its threads. Code that is not modelled uses the real types directly.
mod sync {
    #[cfg(all(test, shuttle))]
    pub(crate) mod model;

    #[cfg(not(all(test, shuttle)))]
    pub(crate) use {
        crate::sys::poller::Notifier,
        parking_lot::{Condvar, Mutex, MutexGuard},
        std::{sync::atomic, thread, thread_local},
    };

    #[cfg(all(test, shuttle))]
    pub(crate) use {
        self::model::{Condvar, Mutex, MutexGuard, Notifier},
        shuttle::{sync::atomic, thread, thread_local},
    };
}
#[cfg(not(feature = "tls"))]
mod no_tls;
mod sys;
#[cfg(feature = "systemd")]
#[cfg_attr(docsrs, doc(cfg(feature = "systemd")))]
pub mod systemd;
pub mod task;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls;
#[cfg(not(feature = "tls"))]
use self::no_tls as tls;

// rustdoc's search finds aliases of a re-export, but not those of an item in a private module.
#[doc(alias("client IP", "client_address", "remote_addr", "peer_addr"))]
pub use crate::address::Address;
#[doc(inline)]
pub use crate::dispatch::Dispatch;
pub use crate::error::{HandlerError, HandlerResult, RequestError, Stage, raw_os_error};
pub use crate::handle::{DrainReport, GroupHandle, ServerHandle};
pub use crate::handler::HandlerFactory;
#[doc(alias("BaseRequestHandler", "StreamRequestHandler", "DatagramRequestHandler"))]
pub use crate::handler::RequestHandler;
#[doc(alias("backpressure", "load shedding", "saturated"))]
pub use crate::limits::OverloadPolicy;
pub use crate::limits::RejectReason;
#[doc(inline)]
pub use crate::listener::Listener;
#[doc(inline)]
pub use crate::request::{DatagramRequest, StreamRequest};
#[doc(inline)]
pub use crate::server::{
    BackgroundServer, Builder, Hooks, Server, ServerGroup, TcpServer, ThreadingTcpServer,
    ThreadingUdpServer, ThreadingUnixDatagramServer, ThreadingUnixStreamServer, UdpServer,
    UnixDatagramServer, UnixStreamServer,
};
#[cfg(feature = "fork")]
#[doc(inline)]
pub use crate::server::{
    ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer, ForkingUnixStreamServer,
};
#[cfg(feature = "green")]
#[doc(inline)]
pub use crate::server::{
    GreenTcpServer, GreenUdpServer, GreenUnixDatagramServer, GreenUnixStreamServer,
};
pub use crate::statistics::RejectedCounts;
#[doc(alias("stub_status", "counters"))]
pub use crate::statistics::Statistics;

/// What most programs need: `use socketserver::prelude::*;`. It includes the traits of `std::io` that
/// `rfile` and `wfile` implement.
pub mod prelude {
    pub use std::io::{BufRead, Read, Write};

    pub use crate::address::Address;
    pub use crate::error::{HandlerError, HandlerResult, RequestError};
    pub use crate::handle::ServerHandle;
    pub use crate::handler::RequestHandler;
    pub use crate::limits::{OverloadPolicy, RejectReason};
    pub use crate::request::{DatagramRequest, Request, StreamRequest};
    pub use crate::server::{
        BackgroundServer, Hooks, Server, ServerGroup, TcpServer, ThreadingTcpServer,
        ThreadingUdpServer, ThreadingUnixDatagramServer, ThreadingUnixStreamServer, UdpServer,
        UnixDatagramServer, UnixStreamServer,
    };
    #[cfg(feature = "fork")]
    pub use crate::server::{
        ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer, ForkingUnixStreamServer,
    };
    #[cfg(feature = "green")]
    pub use crate::server::{
        GreenTcpServer, GreenUdpServer, GreenUnixDatagramServer, GreenUnixStreamServer,
    };
}

pub mod guide {
    //! How to run a server: what the parts are called, what to limit, how to stop.
    //!
    //! - [`glossary`]: the words of these docs, with those of Python, tokio and nginx.
    //! - [`connection`]: a diagram of a connection's way, with its limits and hooks.
    //! - [`limits`]: overload, slow clients, limits per IP, timeouts. What to set for a server that
    //!   strangers can reach.
    //! - [`shutdown`]: graceful shutdown and drain, SIGTERM, forced close.
    //! - [`signals`]: what SIGINT, SIGTERM, SIGHUP and SIGUSR2 do.
    //! - [`production`]: the steps to production: limits, TLS, systemd, restarts, HAProxy, metrics.
    //! - [`dispatch`]: one request at a time, threads, green tasks or processes.
    //! - [`scale`]: how many connections one machine serves, and what to do when that is not enough.
    //! - [`io_uring`]: why green tasks wait with epoll.
    //! - [`comparison`]: this crate beside Python's module.
    //! - [`trials`]: measured behaviour under load, faults and attacks.
    //!
    //! [`porting`](crate::porting) shows how to port a program from Python.

    // What the pages link to.
    #[cfg(doc)]
    use crate::dispatch::{Job, ThreadPool};
    #[cfg(doc)]
    use crate::framing::Framing;
    #[cfg(doc)]
    use crate::prelude::*;
    #[cfg(doc)]
    use crate::request::{Connection, Extensions, Outbox, Reader, Writer};
    #[cfg(doc)]
    use crate::server::Builder;
    #[cfg(doc)]
    use crate::{Dispatch, DrainReport, Listener, RejectedCounts, Stage, Statistics};

    #[doc = include_str!("guide/glossary.md")]
    pub mod glossary {}

    /// The way of a connection: its limits, its hooks, and what a shutdown does at each place.
    ///
    #[doc = include_str!("guide/connection-light.svg")]
    #[doc = include_str!("guide/connection-dark.svg")]
    #[doc = include_str!("guide/connection.md")]
    #[doc(alias("life cycle", "lifecycle", "diagram"))]
    pub mod connection {}

    #[doc = include_str!("guide/limits.md")]
    #[doc(alias = "slowloris")]
    #[doc(alias = "denial of service")]
    #[doc(alias = "rate limit")]
    #[doc(alias = "client IP")]
    #[doc(alias = "X-Forwarded-For")]
    #[doc(alias = "PROXY protocol")]
    #[doc(alias = "worker_connections")]
    #[doc(alias = "keep-alive")]
    #[doc(alias = "keepalive")]
    #[doc(alias = "keep alive")]
    #[doc(alias = "backpressure")]
    pub mod limits {}

    #[doc = include_str!("guide/shutdown.md")]
    #[doc(alias = "drain")]
    #[doc(alias = "graceful")]
    #[doc(alias = "graceful shutdown")]
    #[doc(alias = "SIGTERM")]
    #[doc(alias = "lame duck")]
    pub mod shutdown {}

    #[doc = include_str!("guide/production.md")]
    #[doc(alias("deployment", "systemd", "HAProxy", "zero downtime"))]
    pub mod production {}

    #[doc = include_str!("guide/signals.md")]
    #[doc(alias("SIGHUP", "SIGUSR2", "nohup"))]
    pub mod signals {}

    #[doc = include_str!("guide/dispatch.md")]
    #[doc(alias("gevent", "coroutine", "asyncio", "C10K"))]
    pub mod dispatch {}

    #[doc = include_str!("guide/scale.md")]
    #[doc(alias("capacity", "ulimit", "max_map_count", "load balancer", "SO_REUSEPORT"))]
    pub mod scale {}

    #[doc = include_str!("guide/io_uring.md")]
    pub mod io_uring {}

    #[doc = include_str!("guide/comparison.md")]
    pub mod comparison {}

    #[doc = include_str!("guide/trials.md")]
    #[doc(alias = "benchmark")]
    pub mod trials {}
}

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
