mod control;
mod serving;
mod shutdown;
mod waker;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

pub(crate) use self::control::{Control, Door};
pub(crate) use self::serving::Serving;
use self::serving::State;
pub use self::shutdown::DrainReport;
use self::shutdown::End;
pub use self::waker::Waker;
use crate::Address;
use crate::children::{Children, Offspring};
use crate::gauge::ThreadGauge;
use crate::limits::Limits;
use crate::options::StreamOptions;
use crate::registry::{Live, Registry};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};
use crate::sys::Doorbell;
use crate::throttle::Throttle;

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
    control: Mutex<Control>,
    threads: Option<ThreadGauge>,
    children: Option<Children>,
    throttle: Throttle,
    bell: Doorbell,
    shutting_down: AtomicBool,
    closed: AtomicBool,
    next_id: AtomicU64,
    registry: Registry,
    shutdown_timeout: Option<Duration>,
    end: Mutex<End>,
    state: Mutex<State>,
    stopped: Condvar,
}

/// What the builder knows and a handle has to.
pub(crate) struct Terms {
    pub(crate) streams: StreamOptions,
    pub(crate) limits: Limits,
    pub(crate) shutdown_timeout: Option<Duration>,
    pub(crate) threads: Option<ThreadGauge>,
    pub(crate) children: Option<Children>,
}

impl ServerHandle {
    pub(crate) fn new(requested: Address, terms: Terms) -> io::Result<Self> {
        Ok(ServerHandle(Arc::new(Shared {
            requested,
            bound: OnceLock::new(),
            stream_options: terms.streams,
            control: Mutex::new(Control::new(terms.limits)),
            threads: terms.threads,
            children: terms.children,
            throttle: Throttle::default(),
            bell: Doorbell::new()?,
            shutting_down: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            registry: Registry::default(),
            shutdown_timeout: terms.shutdown_timeout,
            end: Mutex::default(),
            state: Mutex::default(),
            stopped: Condvar::new(),
        })))
    }

    /// The address the server is bound to, with the real port where 0 was asked for. Before
    /// `server_bind`, the address that was asked for.
    pub fn server_address(&self) -> &Address {
        self.0.bound.get().unwrap_or(&self.0.requested)
    }

    /// Enters a connection in the list of those that a shutdown ends. One that comes while it does
    /// so is not missed: it is seen there, or the shutdown is seen here.
    pub(crate) fn enter_connection(&self, id: u64, connection: Weak<dyn Live>) {
        self.0
            .registry
            .enter_connection(id, Weak::clone(&connection));
        let Some(connection) = connection.upgrade() else {
            return;
        };
        if self.is_ending() {
            connection.drain();
        }
        if self.0.end.lock().is_forced() {
            connection.cut();
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn is(&self, other: &ServerHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn bell(&self) -> &Doorbell {
        &self.0.bell
    }

    pub(crate) fn threads(&self) -> Option<&ThreadGauge> {
        self.0.threads.as_ref()
    }

    pub(crate) fn children(&self) -> Option<&dyn Offspring> {
        self.0.children.as_ref().map(Children::get)
    }

    /// Asked before a line is logged that clients can cause.
    pub(crate) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    pub(crate) fn stream_options(&self) -> &StreamOptions {
        &self.0.stream_options
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.0.bound.get().is_some()
    }

    pub(crate) fn set_closed(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
    }

    /// Whether the server is closed and none of its requests is left.
    #[cfg(feature = "metrics")]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst) && self.0.registry.present() == 0
    }

    pub(crate) fn set_bound(&self, address: Address) {
        // A server is bound once; `Server::server_bind` sees to that.
        let _ = self.0.bound.set(address);
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("server_address", self.server_address())
            .field("is_shutting_down", &self.is_ending())
            .finish_non_exhaustive()
    }
}
