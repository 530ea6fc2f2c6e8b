//! TCP, UDP and Unix-socket servers in plain, blocking Rust: write a handler, pick a server, serve.
//! It is Python's `socketserver`, without its faults.
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
//! **Who should not use it:** programs with tens of thousands of busy connections, for each one
//! that is served has a thread here; programs that are async already; and whoever wants HTTP rather
//! than bytes, lines and datagrams.
//!
//! **From Python:** [`porting`] has every name of Python's module, and what programs do with them, in
//! Python and in Rust.
//!
//! # Servers
//!
//! | | one request after the other | side by side, on threads | side by side, in processes (feature `fork`) |
//! |---|---|---|---|
//! | TCP | [`TcpServer`] | [`ThreadingTcpServer`] | `ForkingTcpServer` |
//! | Unix stream | [`UnixStreamServer`] | [`ThreadingUnixStreamServer`] | `ForkingUnixStreamServer` |
//! | UDP | [`UdpServer`] | [`ThreadingUdpServer`] | `ForkingUdpServer` |
//! | Unix datagram | [`UnixDatagramServer`] | [`ThreadingUnixDatagramServer`] | `ForkingUnixDatagramServer` |
//!
//! All are [`Server`]s. What a server is to know before it exists, it is told by its [`Builder`]:
//! [`Server::builder`]. A closure will do for a small handler: [`Server::bind_fn`]. Another thread,
//! a signal or a handler stops it through its [`ServerHandle`]; [`Server::serve_in_background`]
//! returns a guard that does so when dropped.
//!
//! # A request's way
//!
//! accept → [`verify_request`](Hooks::verify_request) → dispatch → [`setup`](RequestHandler::setup)
//! → [`handle`](RequestHandler::handle) → [`finish`](RequestHandler::finish) → shutdown → close
//!
//! Each is a room of its own, and one value, the request, moves from one to the next:
//!
//! - [`listener`]: where requests come from. [`Listener`] is Python's server class.
//! - [`server`]: the corridor; the hooks that a Python program would override ([`Hooks`]).
//! - [`dispatch`]: where a request runs. [`Dispatch`] is Python's mix-in class.
//! - [`RequestHandler`]: what is done with it.
//! - [`request`]: what a handler is given, [`StreamRequest`] or [`DatagramRequest`], and how it is
//!   closed.
//!
//! Beside the house, and without knowing it, stand codecs that clients use too:
//!
//! - [`framing`]: messages behind their length.
//! - `auth`: HMAC challenge and response, and Python's `multiprocessing.connection`. Feature `auth`.
//!
//! # Under load
//!
//! [`Builder::max_connections`], [`Builder::max_per_ip`] and `max_threads` bound what a server takes
//! on; [`OverloadPolicy`] says what becomes of the rest, [`Hooks::reject_request`] what they are told.
//! [`Builder::read_timeout`], `write_timeout`, `idle_timeout` and `max_lifetime` bound how long a client may
//! take; none is set by default. [`ServerHandle`] changes the limits while serving, suspends and resumes.
//! [`ServerHandle::shutdown_within`] lets requests finish, ends what is left, and reports.
//!
//! # Statistics
//!
//! [`ServerHandle::statistics`] counts requests by how they ended, bytes and threads. The feature
//! `metrics` publishes them through the crate of that name: `ServerHandle::publish_metrics`.
//!
//! # Errors
//!
//! What goes wrong in one request, a panic included, goes to [`Hooks::handle_error`] and ends that
//! request only (a panic the whole program, if that is built with `panic = "abort"`). Everything else
//! is an `io::Error` that names the address or path it is about.
//!
//! # Logging
//!
//! Through the crate [`log`], a target for each room: `socketserver::server`,
//! `socketserver::listener`, `socketserver::dispatch`, `socketserver::handler`. Nothing of it is seen,
//! errors of handlers neither, before the program has set a logger at the beginning of `main`. With
//! the crate `simplelog`:
//!
//! ```
//! use simplelog::{Config, LevelFilter, WriteLogger};
//!
//! let _ = WriteLogger::init(LevelFilter::Info, Config::default(), std::io::stderr());
//! ```
//!
//! Each request has a number, [`StreamRequest::id`], in every line about it. At debug level there are
//! two lines for each: `request 7 from 192.0.2.1:4711: accepted` and `request 7 from 192.0.2.1:4711:
//! finished after 1.203s, 12 bytes in, 40 bytes out`.
#[cfg(not(unix))]
compile_error!("socketserver runs on Unix systems only, so far");

mod address;
#[cfg(feature = "auth")]
pub mod auth;

pub mod dispatch;
mod error;
pub mod framing;
pub mod guide;
mod handle;
mod handler;
mod limits;
pub mod listener;
#[cfg(feature = "metrics")]
pub mod metrics;
mod options;
pub mod porting;
mod rate_limit;
pub mod request;
pub mod server;

mod statistics;
mod sync;
mod sys;

pub use crate::address::Address;
pub use crate::dispatch::Dispatch;
pub use crate::error::{HandlerError, HandlerResult, Panicked, RequestError, Stage};
pub use crate::handle::{DrainReport, ServerHandle};
pub use crate::handler::RequestHandler;
pub use crate::limits::{OverloadPolicy, RejectReason};
pub use crate::listener::Listener;
pub use crate::request::{DatagramRequest, StreamRequest};
pub use crate::server::{
    BackgroundServer, Builder, Hooks, Server, TcpServer, ThreadingTcpServer, ThreadingUdpServer,
    ThreadingUnixDatagramServer, ThreadingUnixStreamServer, UdpServer, UnixDatagramServer,
    UnixStreamServer,
};
#[cfg(feature = "fork")]
pub use crate::server::{
    ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer, ForkingUnixStreamServer,
};
pub use crate::statistics::{RejectedCounts, Statistics};

/// What most programs need: `use socketserver::prelude::*;`. The traits of `std::io` that `rfile`
/// and `wfile` are used through come along.
pub mod prelude {
    pub use std::io::{BufRead, Read, Write};

    pub use crate::address::Address;
    pub use crate::error::{HandlerError, HandlerResult, RequestError};
    pub use crate::handle::ServerHandle;
    pub use crate::handler::RequestHandler;
    pub use crate::limits::{OverloadPolicy, RejectReason};
    pub use crate::request::{DatagramRequest, Request, StreamRequest};
    pub use crate::server::{
        BackgroundServer, Hooks, Server, TcpServer, ThreadingTcpServer, ThreadingUdpServer,
        ThreadingUnixDatagramServer, ThreadingUnixStreamServer, UdpServer, UnixDatagramServer,
        UnixStreamServer,
    };
    #[cfg(feature = "fork")]
    pub use crate::server::{
        ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer, ForkingUnixStreamServer,
    };
}

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
