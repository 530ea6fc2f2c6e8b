//! From Python's `socketserver`, line by line.
//!
//! Most names are Python's, and the order of events is Python's:
//!
//! | Python | here |
//! |---|---|
//! | a handler class | a type that implements [`RequestHandler`], or a closure |
//! | `self.request`, `self.rfile`, `self.wfile`, … | fields of the argument of `handle`: [`StreamRequest`] or [`DatagramRequest`] |
//! | `self.server.something` | a value that the handler factory captures |
//! | class attributes of the server and of the handler | methods of the [`Builder`] |
//! | overridden methods of the server | [`Hooks`] |
//! | a server class and a mix-in | [`Server`] with a [`Listener`] and a [`Dispatch`] |
//! | overridden `get_request`, `process_request` | your own [`Listener`], your own [`Dispatch`] |
//! | an exception | an error that `?` returns |
//! | `with` | the end of the scope |
//!
//! The pages:
//!
//! - [`names`]: every public name of Python's module and its counterpart.
//! - [`idioms`]: twenty-one things that programs do with the module, in Python and in Rust.
//! - [`exceptions`]: what Python raises, and the error here.
//! - [`ownership`]: `with` and `Drop`, shared state, and what outlives a request.
//! - [`guide::comparison`](crate::guide::comparison): what behaves differently.
//!
//! # To start
//!
//! This crate is not on crates.io yet. A crate in the folder beside it depends on it by path:
//!
//! ```toml
//! [dependencies]
//! socketserver = { path = "../socketserver" }
//! simplelog = "0.12"
//! ```
//!
//! Some examples use other crates where Python has a module. `cargo add` adds them: `socket2` for
//! socket options, `rustls` for TLS, `polling` for your own poll loop.
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
//!         for line in &mut request.rfile {
//!             request.wfile.write_all(&line?.to_ascii_uppercase())?;
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
//!         .read_timeout(Duration::from_secs(60))
//!         .write_timeout(Duration::from_secs(60))
//!         .hooks(LocalOnly)
//!         .bind("127.0.0.1:9999", || Upper)?;
//!     server.shutdown_on_ctrlc()?;
//!     server.serve_forever()
//! }
//! ```
//!
//! `allow_reuse_address` is true for TCP by default, so the Rust program does not set it.
//!
//! # Lines
//!
//! In many protocols each line is a message. A loop over `rfile` is for them:
//!
//! | | `for line in &mut request.rfile` | [`next_line`](StreamRequest::next_line) |
//! |---|---|---|
//! | Python | `for line in self.rfile` | the same, with `decode` and `rstrip` |
//! | a line is | bytes (`Vec<u8>`) with their end, `\n` or `\r\n` | a `String` without its end |
//! | a line that is not UTF-8 | like any other | an error, [`InvalidData`](std::io::ErrorKind::InvalidData); its bytes stay in `rfile` |
//! | a line longer than [`Builder::max_line`], 64 KiB by default | an error, `InvalidData`; its bytes stay in `rfile` | the same error |
//! | a last line without an end | as it is | like any other |
//! | the end of the stream | the loop ends | `None` |
//!
//! Both mark the connection [idle](crate::guide::glossary#limits) between two lines, if nothing is
//! buffered and `wfile` is flushed. A graceful shutdown (Ctrl-C, for example) or the idle timeout ends the
//! connection only there: the loop ends as if the client had closed it. A line that has arrived is still
//! answered.
//!
//! **Do not use these loops inside a message, for example for the lines of a header or of a body. A
//! shutdown or the idle timeout would end the loop in the middle of the message, and an incomplete message
//! would look complete. Read headers and bodies with [`readline`](Reader::readline),
//! [`read_line`](BufRead::read_line), [`read_exact`](Read::read_exact) or [`read`](Read::read): these
//! never mark the connection idle.**
//!
//! Other protocols wait for the first byte of each message with
//! [`wait_for_data`](StreamRequest::wait_for_data), which marks the connection idle, and then read the
//! whole message:
//!
//! ```
//! use socketserver::prelude::*;
//!
//! /// A header of lines up to an empty line, and then as many bytes as its first line says.
//! fn echo_bodies(request: &mut StreamRequest) -> HandlerResult {
//!     // Idle here, between two messages.
//!     while request.wait_for_data()? {
//!         // Not idle from here on.
//!         let first = request.rfile.readline(1024)?;
//!         let length: usize = std::str::from_utf8(&first)?.trim().parse()?;
//!         while !matches!(&*request.rfile.readline(1024)?, b"\r\n" | b"\n" | b"") {}
//!         let mut body = vec![0; length.min(65_536)];
//!         request.rfile.read_exact(&mut body)?;
//!         request.wfile.write_all(&body)?;
//!     }
//!     Ok(())
//! }
//! # fn main() -> std::io::Result<()> {
//! # let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", echo_bodies)?.serve_in_background()?;
//! # let mut client = std::net::TcpStream::connect(server.server_address())?;
//! # client.write_all(b"5\nname: value\n\nhello2\n\nhi")?;
//! # client.shutdown(std::net::Shutdown::Write)?;
//! # assert_eq!(std::io::read_to_string(client)?, "hellohi");
//! # Ok(())
//! # }
//! ```
//!
//! **A loop that uses only `read`, `readline` or `read_line` never marks the connection idle: a shutdown
//! [waits](Builder::shutdown_timeout) for its client.**
//!
//! # Errors are logged
//!
//! Python prints a traceback of an exception in a handler. Here [`handle_error`](Hooks::handle_error)
//! logs the error through the crate [`log`](https://docs.rs/log). **You see nothing of it until the program
//! sets a logger**, at the start of `main`:
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
use crate::request::{Connection, DatagramSocket, Extensions, Outbox, Reader, Writer};
#[cfg(doc)]
use crate::server::{BackgroundServer, Builder, Server};
#[cfg(doc)]
use crate::{Dispatch, Listener, OverloadPolicy, RejectReason, Stage};

#[doc = include_str!("names.md")]
pub mod names {}

#[cfg_attr(not(doctest), doc = include_str!("idioms/mod.md"))]
#[cfg_attr(not(doctest), doc = include_str!("idioms/servers.md"))]
#[cfg_attr(not(doctest), doc = include_str!("idioms/handlers.md"))]
#[cfg_attr(not(doctest), doc = include_str!("idioms/guards.md"))]
// Its example needs the crate `rustls`, so the package of the tests compiles it.
#[cfg_attr(not(doctest), doc = include_str!("idioms/tls.md"))]
#[cfg_attr(not(doctest), doc = include_str!("idioms/life.md"))]
#[cfg_attr(not(doctest), doc = include_str!("idioms/connections.md"))]
pub mod idioms {}

#[doc = include_str!("exceptions.md")]
pub mod exceptions {}

#[doc = include_str!("ownership.md")]
pub mod ownership {}
