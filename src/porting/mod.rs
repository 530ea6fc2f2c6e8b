//! From Python's `socketserver`, line by line.
//!
//! The names are mostly Python's, and so is the order in which things happen:
//!
//! | Python | here |
//! |---|---|
//! | a handler class | a type that implements [`RequestHandler`], or a closure |
//! | `self.request`, `self.rfile`, `self.wfile`, … | fields of what `handle` is given, [`StreamRequest`] or [`DatagramRequest`] |
//! | `self.server.something` | what the closure that makes the handlers captures |
//! | class attributes of the server and of the handler | setters of the [`Builder`] |
//! | overridden methods of the server | [`Hooks`] |
//! | a server class beside a mix-in | [`Server`]: a [`Listener`] beside a [`Dispatch`] |
//! | overridden `get_request`, `process_request` | a [`Listener`], a [`Dispatch`] of your own |
//! | an exception | an error that `?` returns |
//! | `with` | the end of the scope |
//!
//! On the pages below:
//!
//! - [`names`]: every public name of Python's module, and what became of it.
//! - [`idioms`]: what programs do with the module, in Python and in Rust.
//! - [`exceptions`]: what Python raises, and what arrives here.
//! - [`ownership`]: `with` and `Drop`, shared state, and what outlives its request.
//!
//! # To start
//!
//! A crate beside this one depends on it by path, for it is not on crates.io yet:
//!
//! ```toml
//! [dependencies]
//! socketserver = { path = "../socketserver" }
//! simplelog = "0.12"
//! ```
//!
//! Some snippets use other crates, for what Python has in modules of its own. They are added in the
//! same way, by `cargo add`: `socket2` for options of sockets, `rustls` for TLS, `rustix --features
//! event` for a poll loop.
//!
//! # A program
//!
//! ```python
//! import socketserver
//!
//! class Upper(socketserver.StreamRequestHandler):
//!     timeout = 60
//!
//!     def handle(self):
//!         for line in self.rfile:
//!             self.wfile.write(line.upper())
//!
//! class Server(socketserver.ThreadingTCPServer):
//!     allow_reuse_address = True
//!
//!     def verify_request(self, request, client_address):
//!         return client_address[0].startswith("127.")
//!
//! with Server(("127.0.0.1", 9999), Upper) as server:
//!     server.serve_forever()
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use socketserver::prelude::*;
//!
//! struct Upper;
//!
//! impl RequestHandler for Upper {
//!     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
//!         while request.wait_for_data()? {
//!             let line = request.rfile.readline(65_536)?;
//!             request.wfile.write_all(&line.to_ascii_uppercase())?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! struct LocalOnly;
//!
//! impl Hooks for LocalOnly {
//!     fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
//!         Ok(request.client_address.ip().is_some_and(|ip| ip.is_loopback()))
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let server = ThreadingTcpServer::builder()
//!         .allow_reuse_address(true)
//!         .read_timeout(Duration::from_secs(60))
//!         .write_timeout(Duration::from_secs(60))
//!         .hooks(LocalOnly)
//!         .bind("127.0.0.1:9999", || Upper)?;
//!     server.shutdown_on_ctrlc()?;
//!     server.serve_forever()
//! }
//! ```
//!
//! # Bytes and text
//!
//! What comes from [`rfile`](StreamRequest::rfile) is bytes, as in Python, unless it is asked for text.
//! There are two loops over lines:
//!
//! | | `wait_for_data`, then `rfile.readline(limit)` | [`next_line`](StreamRequest::next_line) |
//! |---|---|---|
//! | a line is | bytes with their end, `\n` or `\r\n` | a `String` without it |
//! | that is not UTF-8 | like any other | an error, [`InvalidData`](std::io::ErrorKind::InvalidData); its bytes stay in `rfile` |
//! | that is too long | comes in pieces | the same error, over [`Builder::max_line`] |
//! | the last, if it has no end | as it came | like any other |
//!
//! Both end at a shutdown too, by Ctrl-C for example: between two lines the connection is
//! [idle](StreamRequest::wait_for_data), and a line that has come is still answered. A loop around
//! `readline` alone, until it returns nothing, makes a shutdown [wait](Builder::shutdown_timeout) for
//! its client.
//!
//! # Errors are logged
//!
//! Python prints a traceback of what a handler raises. Here [`handle_error`](Hooks::handle_error) logs
//! it through the crate [`log`], **and nobody sees that before the program has set a logger**, at the
//! beginning of `main`:
//!
//! ```
//! use simplelog::{Config, LevelFilter, WriteLogger};
//!
//! let _ = WriteLogger::init(LevelFilter::Info, Config::default(), std::io::stderr());
//! ```

// What the pages link to.
#[cfg(doc)]
use std::os::fd::AsFd;

#[cfg(doc)]
use crate::dispatch::{Inline, Job, ThreadPool};
#[cfg(doc)]
use crate::listener::{Tcp, Udp, Unix, UnixDatagram};
#[cfg(doc)]
use crate::prelude::*;
#[cfg(doc)]
use crate::request::{Connection, DatagramSocket, Extensions, Reader, Transport, Writer};
#[cfg(doc)]
use crate::server::{BackgroundServer, Builder, Server, on_accept_error};
#[cfg(doc)]
use crate::{Dispatch, Listener, OverloadPolicy, RejectReason, Stage};

#[doc = include_str!("names.md")]
pub mod names {}

#[doc = include_str!("idioms/mod.md")]
#[doc = include_str!("idioms/servers.md")]
#[doc = include_str!("idioms/handlers.md")]
#[doc = include_str!("idioms/guards.md")]
#[doc = include_str!("idioms/life.md")]
#[doc = include_str!("idioms/connections.md")]
pub mod idioms {}

#[doc = include_str!("exceptions.md")]
pub mod exceptions {}

#[doc = include_str!("ownership.md")]
pub mod ownership {}
