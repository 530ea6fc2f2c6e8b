use std::io;
use std::time::Instant;

use super::ServerHandle;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex};

/// Serving, and the end of it without a shutdown.
impl ServerHandle {
    /// Ends serving: [`serve_forever`](crate::Server::serve_forever) or
    /// [`handle_request`](crate::Server::handle_request) returns, and can be called again. Python's
    /// `BaseServer.shutdown`, except that it does not wait: [`wait`](Self::wait) does.
    ///
    /// Connections, requests in the pending queue and the listening socket stay as they are. New clients
    /// wait in the system's queue. If no thread serves, the next one that begins stops at once.
    ///
    /// Never blocks, and may be called in handlers, hooks and threads that handle signals. A server in the
    /// [background](crate::BackgroundServer) is closed then, because nothing can serve again.
    ///
    /// ```
    /// use std::thread;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", |request| {
    ///     request.server.stop_serving();
    ///     Ok(request.wfile.write_all(b"hello")?)
    /// })?;
    /// for _ in 0..3 {
    ///     let address = server.server_address().clone();
    ///     let client = thread::spawn(move || std::net::TcpStream::connect(&address));
    ///     server.serve_forever()?;
    ///     client.join().expect("it does not panic")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "shutdown")]
    pub fn stop_serving(&self) {
        self.request_stop(None);
    }

    /// Ends serving with an error, as an exception does in Python: `serve_forever` or `handle_request`
    /// returns it. May be called in any hook and handler, on any thread, and never blocks.
    ///
    /// Otherwise it does what [`stop_serving`](Self::stop_serving) does. Of several errors the first one
    /// counts.
    ///
    /// ```
    /// use std::io;
    ///
    /// use socketserver::prelude::*;
    ///
    /// struct Strict;
    ///
    /// impl Hooks for Strict {
    ///     fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
    ///         request.server.fail(io::Error::other(error.to_string()));
    ///     }
    /// }
    ///
    /// # fn main() -> io::Result<()> {
    /// let server = TcpServer::builder().hooks(Strict);
    /// let server = server.bind_fn("127.0.0.1:0", |_| Err("the disk is full".into()))?;
    /// let _client = std::net::TcpStream::connect(server.server_address())?;
    /// let error = server.serve_forever().unwrap_err();
    /// assert!(error.to_string().contains("the disk is full"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail(&self, error: io::Error) {
        self.request_stop(Some(error));
    }

    /// Blocks until no thread is in [`serve_forever`](crate::Server::serve_forever), after a shutdown or
    /// [`stop_serving`](Self::stop_serving).
    ///
    /// `handle.shutdown(); handle.wait();` or `handle.stop_serving(); handle.wait();` is Python's
    /// `server.shutdown()`. As there, no other thread may begin to serve again between the two calls. Requests
    /// on other threads may still run: closing the server waits for them, and so does
    /// [`shutdown_within`](Self::shutdown_within). On the thread that serves (in a hook, or in a
    /// handler of a server without threads) it returns at once, because it would wait for itself.
    pub fn wait(&self) {
        self.wait_while_serving(|| None);
    }

    /// Whether the accept loop has to end.
    pub(crate) fn must_stop(&self) -> bool {
        self.0.serving.stop.load(Ordering::SeqCst) || self.is_shutdown_begun()
    }

    /// Marks the calling thread as the one that serves, until the value is dropped.
    pub(crate) fn start_serving(&self) -> Serving<'_> {
        let serving = &self.0.serving;
        let mut state = serving.state.lock();
        state.thread = Some(thread::current().id());
        state.has_stopped = false;
        Serving(serving)
    }

    /// Forgets a [`stop_serving`](Self::stop_serving) that came when serving had ended already.
    pub(crate) fn forget_stop(&self) {
        self.0.serving.take_request();
    }

    /// [`wait`](Self::wait), but only until the time that `give_up_at` returns. It is called again after
    /// each [`wake_waiting`](ServingState::wake_waiting). Returns whether no thread serves.
    pub(super) fn wait_while_serving(&self, give_up_at: impl Fn() -> Option<Instant>) -> bool {
        let serving = &self.0.serving;
        let mut state = serving.state.lock();
        let stops = state.stops;
        loop {
            // Another thread may have begun to serve before this one woke up.
            let has_ended = state.stops != stops
                || match state.thread {
                    None => state.has_stopped || self.is_shutdown_begun(),
                    Some(thread) => thread == thread::current().id(),
                };
            if has_ended {
                return true;
            }
            match give_up_at() {
                None => serving.ended.wait(&mut state),
                Some(at) if Instant::now() >= at => return false,
                Some(at) => drop(serving.ended.wait_until(&mut state, at)),
            }
        }
    }

    fn request_stop(&self, error: Option<io::Error>) {
        let serving = &self.0.serving;
        let mut state = serving.state.lock();
        let request = state.request.get_or_insert_default();
        request.error = request.error.take().or(error);
        serving.stop.store(true, Ordering::SeqCst);
        drop(state);
        self.0.poller.notify();
    }
}

/// Which thread serves, and whether it has to stop.
#[derive(Default)]
pub(super) struct ServingState {
    /// Whether there is a request in the state.
    stop: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    thread: Option<ThreadId>,
    /// The last thread that served has ended after a request.
    has_stopped: bool,
    /// How often that has happened.
    stops: usize,
    request: Option<StopRequest>,
}

/// Of `stop_serving`, or of `fail` with an error.
#[derive(Default)]
struct StopRequest {
    error: Option<io::Error>,
}

impl ServingState {
    pub(super) fn wake_waiting(&self) {
        // Locked once, so that no thread is between its check and its wait.
        drop(self.state.lock());
        self.ended.notify_all();
    }

    fn take_request(&self) -> Option<StopRequest> {
        let mut state = self.state.lock();
        self.stop.store(false, Ordering::SeqCst);
        let request = state.request.take();
        state.has_stopped |= request.is_some();
        request
    }
}

/// Held by the thread that serves.
pub(crate) struct Serving<'a>(&'a ServingState);

impl Serving<'_> {
    /// What ended serving: the error of [`fail`](ServerHandle::fail), if there is one. Called before another
    /// thread can begin to serve, because the request is for this one.
    pub(crate) fn result(&self) -> io::Result<()> {
        match self.0.take_request().and_then(|request| request.error) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        // The accept loop is unlocked already, and another thread may have begun to serve.
        let mut state = self.0.state.lock();
        state
            .thread
            .take_if(|thread| *thread == thread::current().id());
        state.stops += usize::from(state.has_stopped);
        drop(state);
        self.0.ended.notify_all();
    }
}
