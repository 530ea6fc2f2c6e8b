use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use crate::Address;
use crate::options::StreamOptions;
use crate::sys::Doorbell;

/// A server's remote control: cheap to clone, `Send` and `Sync`, and reachable from every handler
/// as `request.server`.
///
/// It keeps working after the server is gone; there is just nothing left to stop then.
///
/// ```
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let server = TcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?;
/// let handle = server.handle();
/// std::thread::spawn(move || handle.shutdown());
/// server.serve_forever()
/// # }
/// ```
#[derive(Clone)]
pub struct ServerHandle(Arc<Shared>);

struct Shared {
    requested: Address,
    bound: OnceLock<Address>,
    stream_options: StreamOptions,
    bell: Doorbell,
    shutting_down: AtomicBool,
    next_id: AtomicU64,
    connections: Mutex<HashMap<u64, Weak<dyn Live>>>,
    state: Mutex<State>,
    stopped: Condvar,
}

/// A connection that a server may have to end.
pub(crate) trait Live: Send + Sync {
    /// Ends it if it waits for a request.
    fn drain(&self);

    /// Ends it now.
    fn cut(&self);
}

#[derive(Default)]
struct State {
    serving: Option<ThreadId>,
    closed: bool,
}

impl ServerHandle {
    pub(crate) fn new(requested: Address, stream_options: StreamOptions) -> io::Result<Self> {
        Ok(ServerHandle(Arc::new(Shared {
            requested,
            bound: OnceLock::new(),
            stream_options,
            bell: Doorbell::new()?,
            shutting_down: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            connections: Mutex::default(),
            state: Mutex::default(),
            stopped: Condvar::new(),
        })))
    }

    /// The address the server is bound to, with the real port where 0 was asked for. Before
    /// `server_bind`, the address that was asked for.
    pub fn server_address(&self) -> &Address {
        self.0.bound.get().unwrap_or(&self.0.requested)
    }

    /// Tells the server to stop. Returns at once, whether or not the server has:
    /// [`wait`](Self::wait) waits for that.
    ///
    /// A shutdown is for good. Called before [`serve_forever`](crate::Server::serve_forever), it
    /// makes that return as soon as it is called; a second call changes nothing. It never blocks,
    /// so handlers, hooks and signal handling threads may call it. Requests that are running go on
    /// to their end.
    ///
    /// Python's `BaseServer.shutdown` waits for the loop to end, and so deadlocks where this does
    /// not.
    pub fn shutdown(&self) {
        self.0.shutting_down.store(true, Ordering::SeqCst);
        // Taken and let go, so that a thread between its look at the flag and its sleep in `wait`
        // is not missed.
        drop(self.0.state.lock());
        self.0.stopped.notify_all();
        self.0.bell.ring();
        self.each_connection(|connection| connection.drain());
    }

    /// Whether [`shutdown`](Self::shutdown) was called or the server was closed. A handler of
    /// long-lived connections asks this between two requests.
    pub fn is_shutting_down(&self) -> bool {
        self.0.shutting_down.load(Ordering::SeqCst)
    }

    /// Blocks until the server has been told to stop and no thread is serving any more, or until it
    /// is closed.
    ///
    /// `handle.shutdown(); handle.wait();` is Python's `server.shutdown()`. Requests on other
    /// threads may still run: closing the server waits for those. On the serving thread itself (a
    /// handler of a server without threads, a hook), where the wait could never end, it returns at
    /// once.
    pub fn wait(&self) {
        let mut state = self.0.state.lock();
        while !state.closed && state.serving != Some(thread::current().id()) {
            if self.is_shutting_down() && state.serving.is_none() {
                return;
            }
            self.0.stopped.wait(&mut state);
        }
    }

    /// Ends every connection, whatever it is doing.
    pub(crate) fn cut_connections(&self) {
        self.each_connection(|connection| connection.cut());
    }

    fn each_connection(&self, mut visit: impl FnMut(&dyn Live)) {
        // Collected first: the last reference to a connection may be ours, and closing it takes the lock.
        let all: Vec<_> = self
            .0
            .connections
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        all.iter().for_each(|connection| visit(&**connection));
    }

    pub(crate) fn enter_connection(&self, id: u64, connection: Weak<dyn Live>) {
        self.0.connections.lock().insert(id, connection);
    }

    pub(crate) fn remove_connection(&self, id: u64) {
        self.0.connections.lock().remove(&id);
    }

    pub(crate) fn is(&self, other: &ServerHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn bell(&self) -> &Doorbell {
        &self.0.bell
    }

    pub(crate) fn stream_options(&self) -> &StreamOptions {
        &self.0.stream_options
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn set_bound(&self, address: Address) {
        // A server is bound once; `Server::server_bind` sees to that.
        let _ = self.0.bound.set(address);
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

    pub(crate) fn mark_closed(&self) {
        self.0.state.lock().closed = true;
        self.0.stopped.notify_all();
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("server_address", self.server_address())
            .field("is_shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
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

/// Wakes a server that waits for its dispatcher to have room: see
/// [`Dispatch::has_room`](crate::dispatch::Dispatch::has_room).
#[derive(Clone, Debug)]
pub struct Waker(ServerHandle);

impl Waker {
    pub(crate) fn new(server: &ServerHandle) -> Self {
        Waker(server.clone())
    }

    /// Makes the server ask again. Never blocks; a call too many does no harm.
    pub fn wake(&self) {
        self.0.0.bell.ring();
    }
}
