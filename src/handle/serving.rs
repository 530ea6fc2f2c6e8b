use std::cell::Cell;
use std::io;
use std::time::Instant;

use super::ServerHandle;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, ThreadId};
use crate::sync::{Condvar, Mutex};
use crate::task;

/// Serving, and the end of it without a shutdown.
impl ServerHandle {
    /// Ends serving: [`serve_forever`](crate::Server::serve_forever) or
    /// [`handle_request`](crate::Server::handle_request) returns, and can be called again. Python's
    /// `BaseServer.shutdown`, except that it does not wait: [`wait`](Self::wait) does.
    ///
    /// Connections, requests in the pending queue and the listening socket stay as they are. New clients
    /// wait in the system's queue. The time limit of the pending queue goes on; what is over it is rejected
    /// when serving begins again. If no thread serves, the next one that begins stops at once.
    ///
    /// Never blocks, and may be called in handlers, hooks and threads that handle signals. A server in the
    /// [background](crate::BackgroundServer) is closed then, because nothing can serve again. In a forked
    /// process it does nothing: the parent serves.
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
    /// Otherwise it does what [`stop_serving`](Self::stop_serving) does; a [group](crate::ServerGroup) is shut
    /// down when one of its servers fails. Of several errors the first one counts. If serving has ended
    /// already, the next call returns the error.
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

    /// Blocks until no thread serves, after a shutdown or [`stop_serving`](Self::stop_serving). If no thread
    /// has served yet, and no shutdown has begun, it waits for the first one too.
    ///
    /// `handle.shutdown(); handle.wait();` or `handle.stop_serving(); handle.wait();` is Python's
    /// `server.shutdown()`. Requests on other threads may still run: closing the server waits for them, and
    /// so does [`shutdown_within`](Self::shutdown_within). On the thread that serves (in a hook, or in a
    /// handler of a server without threads) it returns at once, because it would wait for itself.
    pub fn wait(&self) {
        task::blocking(|| self.wait_while_serving(|| None));
    }

    /// Whether the accept loop has to end.
    #[inline]
    pub(crate) fn must_stop(&self) -> bool {
        self.0.serving.is_requested() || self.is_shutdown_begun() || self.group_must_stop()
    }

    /// Takes a request that has come after the server has stopped with its group. Returns the error with which
    /// it was to end.
    pub(crate) fn take_late_stop(&self) -> io::Result<()> {
        self.0.serving.take_request().1
    }

    /// Marks the calling thread as the one that serves, until the value is dropped.
    pub(crate) fn start_serving(&self) -> Serving<'_> {
        self.0.serving.start()
    }

    /// [`wait`](Self::wait), but only until the time that `give_up_at` returns. Returns whether no thread
    /// serves.
    pub(super) fn wait_while_serving(&self, give_up_at: impl Fn() -> Option<Instant>) -> bool {
        let is_shutdown_begun = || self.is_shutdown_begun();
        self.0.serving.wait(is_shutdown_begun, give_up_at)
    }

    fn request_stop(&self, error: Option<io::Error>) {
        self.0.serving.request_stop(error);
        self.0.poller.notify();
    }
}

/// For the watchdog of a service manager.
#[cfg(feature = "systemd")]
impl ServerHandle {
    pub(crate) fn is_serving(&self) -> bool {
        self.0.serving.state.lock().thread.is_some()
    }

    /// Wakes the accept loop, so that it turns.
    pub(crate) fn ask_for_turn(&self) {
        self.0.serving.owes_turn.store(true, Ordering::SeqCst);
        self.0.poller.notify();
    }

    /// Whether it is served, and its accept loop has not turned since it was asked.
    pub(crate) fn owes_turn(&self) -> bool {
        self.0.serving.owes_turn.load(Ordering::SeqCst) && self.is_serving()
    }

    /// Called in each turn of the accept loop.
    pub(crate) fn set_turned(&self) {
        let owes_turn = &self.0.serving.owes_turn;
        if owes_turn.load(Ordering::Relaxed) {
            owes_turn.store(false, Ordering::SeqCst);
        }
    }
}

/// Which thread serves, and whether it has to stop: of a server, or of a group.
#[derive(Default)]
pub(super) struct ServingState {
    /// Whether there is a request in the state.
    is_requested: AtomicBool,
    /// Whether the accept loop was asked to turn, and has not.
    #[cfg(feature = "systemd")]
    owes_turn: AtomicBool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    thread: Option<ThreadId>,
    /// How often serving has begun.
    begins: usize,
    /// How often serving has ended, except for single requests.
    ends: usize,
    has_served: bool,
    request: Option<StopRequest>,
}

/// Of `stop_serving`, or of `fail` with an error.
#[derive(Default)]
struct StopRequest {
    error: Option<io::Error>,
}

impl ServingState {
    /// Marks the calling thread as the one that serves, until the value is dropped.
    pub(super) fn start(&self) -> Serving<'_> {
        let mut state = self.state.lock();
        // The thread before may not be done yet, and does not count itself then.
        state.ends += usize::from(state.thread.is_some());
        state.thread = Some(thread::current().id());
        state.has_served = true;
        state.begins += 1;
        Serving {
            state: self,
            number: state.begins,
            has_ended: Cell::new(true),
            is_taken: Cell::new(false),
        }
    }

    pub(super) fn request_stop(&self, error: Option<io::Error>) {
        let mut state = self.state.lock();
        let request = state.request.get_or_insert_default();
        request.error = request.error.take().or(error);
        self.is_requested.store(true, Ordering::SeqCst);
        drop(state);
        // Between two single requests nobody serves.
        self.ended.notify_all();
    }

    pub(super) fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::SeqCst)
    }

    /// Blocks until no thread serves, or until the time that `give_up_at` returns. It is called again after
    /// each [`wake_waiting`](Self::wake_waiting). Returns whether no thread serves.
    pub(super) fn wait(
        &self,
        is_shutdown_begun: impl Fn() -> bool,
        give_up_at: impl Fn() -> Option<Instant>,
    ) -> bool {
        let mut state = self.state.lock();
        let ends = state.ends;
        loop {
            let is_requested = state.request.is_some() && state.has_served;
            // Another thread may have begun to serve before this one woke up.
            let has_ended = state.ends != ends
                || match state.thread {
                    None => state.ends > 0 || is_requested || is_shutdown_begun(),
                    Some(thread) => thread == thread::current().id(),
                };
            if has_ended {
                return true;
            }
            match give_up_at() {
                None => self.ended.wait(&mut state),
                Some(at) if Instant::now() >= at => return false,
                Some(at) => drop(self.ended.wait_until(&mut state, at)),
            }
        }
    }

    pub(super) fn wake_waiting(&self) {
        // Locked once, so that no thread is between its check and its wait.
        drop(self.state.lock());
        self.ended.notify_all();
    }

    /// Takes the request to stop. Returns whether there was one, and the result of serving.
    fn take_request(&self) -> (bool, io::Result<()>) {
        let mut state = self.state.lock();
        self.is_requested.store(false, Ordering::SeqCst);
        match state.request.take() {
            Some(StopRequest { error: Some(error) }) => (true, Err(error)),
            request => (request.is_some(), Ok(())),
        }
    }
}

/// Held by the thread that serves.
pub(crate) struct Serving<'a> {
    state: &'a ServingState,
    number: usize,
    /// Whether serving ends with it. False after a single request.
    has_ended: Cell<bool>,
    /// Whether the request to stop was taken.
    is_taken: Cell<bool>,
}

impl Serving<'_> {
    /// What ended serving: the error of [`fail`](ServerHandle::fail), if there is one. Called before another
    /// thread can begin to serve, because the request is for this one.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.is_taken.set(true);
        self.state.take_request().1
    }

    /// The same after a single request. Then serving goes on with the next one, unless there is a request to
    /// stop.
    pub(crate) fn end_single(&self) -> io::Result<()> {
        self.is_taken.set(true);
        let (is_requested, result) = self.state.take_request();
        self.has_ended.set(is_requested);
        result
    }

    /// The error with which to end, unless another error has ended serving before: then it is returned here.
    pub(crate) fn take_unreported(&self) -> Option<io::Error> {
        if self.is_taken.get() {
            return None;
        }
        self.end().err()
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        // The accept loop is unlocked already, and another thread may have begun to serve.
        let mut state = self.state.state.lock();
        if state.begins == self.number {
            state.thread = None;
            state.ends += usize::from(self.has_ended.get());
        }
        drop(state);
        self.state.ended.notify_all();
    }
}
