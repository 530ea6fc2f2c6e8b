use std::io;
use std::time::Instant;

use super::ServerHandle;
use crate::sync::thread::{self, ThreadId};

impl ServerHandle {
    /// Blocks until the server has been told to stop and no thread is serving any more.
    ///
    /// `handle.shutdown(); handle.wait();` is Python's `server.shutdown()`. Requests on other
    /// threads may still run: closing the server waits for those, and so does
    /// [`shutdown_within`](Self::shutdown_within). On the serving thread itself (a handler of a
    /// server without threads, a hook), where the wait could never end, it returns at once.
    pub fn wait(&self) {
        self.wait_stopped(|| None);
    }

    /// The same, until some time after requests were forced: one may run on the serving thread.
    pub(crate) fn wait_until_stopped(&self) -> bool {
        self.wait_stopped(|| self.0.end.lock().give_up())
    }

    fn wait_stopped(&self, give_up: impl Fn() -> Option<Instant>) -> bool {
        let mut state = self.0.state.lock();
        while !self.has_stopped(&state) {
            match give_up() {
                None => self.0.stopped.wait(&mut state),
                Some(at) if Instant::now() >= at => return false,
                Some(at) => drop(self.0.stopped.wait_until(&mut state, at)),
            }
        }
        true
    }

    fn has_stopped(&self, state: &State) -> bool {
        match state.serving {
            None => self.is_ending(),
            Some(thread) => thread == thread::current().id(),
        }
    }

    /// Marks this thread as the serving one until the guard is dropped. `ResourceBusy` if another
    /// one is.
    pub(crate) fn start_serving(&self) -> io::Result<Serving<'_>> {
        let mut state = self.0.state.lock();
        if state.serving.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "the server on {} is being served already",
                    self.server_address()
                ),
            ));
        }
        state.serving = Some(thread::current().id());
        Ok(Serving(self))
    }
}

/// Held by the thread that serves.
pub(crate) struct Serving<'a>(&'a ServerHandle);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.0.state.lock().serving = None;
        self.0.0.stopped.notify_all();
    }
}

/// Which thread serves.
#[derive(Default)]
pub(super) struct State {
    serving: Option<ThreadId>,
}
