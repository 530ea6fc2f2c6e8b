use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};

use super::Server;
use crate::dispatch::Dispatch;
use crate::error::Panicked;
use crate::listener::Listener;
use crate::log_line::log_line;
use crate::{Address, ServerHandle, task};

/// A server that serves on its own thread, until this guard is dropped.
///
/// Made by [`Server::serve_in_background`]. [`handle`](Self::handle) gives its [`ServerHandle`].
#[must_use = "the server is shut down when its guard is dropped"]
pub struct BackgroundServer {
    handle: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Serves on a new thread. Dropping the returned guard shuts the server down, closes it and waits for
    /// both: Python's `shutdown()`, `server_close()` and `thread.join()`.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = TcpServer::bind_fn("127.0.0.1:0", |request| Ok(request.wfile.write_all(b"hello")?))?;
    /// let server = server.serve_in_background()?;
    ///
    /// let mut text = String::new();
    /// TcpStream::connect(server.server_address())?.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn serve_in_background(self) -> io::Result<BackgroundServer> {
        let handle = self.handle();
        let thread = thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || {
                let served = self.serve_forever();
                self.server_close();
                served
            })?;
        Ok(BackgroundServer {
            handle,
            thread: Some(thread),
        })
    }
}

impl BackgroundServer {
    /// The address it is bound to, with the real port where port 0 was requested.
    pub fn server_address(&self) -> &Address {
        self.handle.server_address()
    }

    /// A handle to the server, also for the time after the guard is dropped.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Whether the server has ended and is closed: [`join`](Self::join) would not block. Never blocks itself.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = TcpServer::bind_fn("127.0.0.1:0", |request| {
    ///     request.server.shutdown();
    ///     Ok(())
    /// })?;
    /// let server = server.serve_in_background()?;
    /// assert!(!server.is_finished());
    /// std::net::TcpStream::connect(server.server_address())?;
    /// while !server.is_finished() {
    ///     // The program's own work.
    ///     std::thread::yield_now();
    /// }
    /// server.join()
    /// # }
    /// ```
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Shuts the server down, closes it and waits for both, also for running requests unless
    /// [`block_on_close`](super::Builder::block_on_close) is false. It begins at once: for a
    /// [`drain_delay`](super::Builder::drain_delay) call [`ServerHandle::shutdown`] and [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// What ended [`serve_forever`](Server::serve_forever) if it was not the shutdown; `TimedOut` if the
    /// thread of the accept loop is in a handler that does not end, not even after the
    /// [forced close](super::Builder::shutdown_timeout).
    pub fn stop(self) -> io::Result<()> {
        self.handle.shutdown_now();
        self.join()
    }

    /// Waits until the server has ended by itself and is closed.
    ///
    /// # Errors
    ///
    /// What [`serve_forever`](Server::serve_forever) returned; `TimedOut` as for
    /// [`stop`](Self::stop).
    pub fn join(mut self) -> io::Result<()> {
        self.join_thread()
    }

    fn join_thread(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // A handler that drops the guard of its own server would wait for itself.
        let serves_here = thread.thread().id() == thread::current().id();
        if serves_here || self.handle.running_here() > 0 {
            return Ok(());
        }
        task::blocking(|| {
            if !self.handle.wait_until_stopped() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the thread of the accept loop is in a handler or hook that does not end",
                ));
            }
            thread.join().unwrap_or_else(|payload| {
                let panicked = Panicked::new(payload);
                Err(io::Error::other(format!(
                    "the thread of the accept loop {panicked}"
                )))
            })
        })
    }
}

impl Drop for BackgroundServer {
    fn drop(&mut self) {
        self.handle.shutdown_now();
        if let Err(error) = self.join_thread() {
            log_line!(target: "socketserver::server", Error, "serving on {} ended: {error}", self.handle.log_name());
        }
    }
}

impl fmt::Debug for BackgroundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundServer")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
