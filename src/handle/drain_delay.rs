use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{ServerHandle, Shared};
use crate::log_line::log_line;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sys::timer::{OnTimer, Timer};

/// The time between the call of `shutdown` and the beginning of it.
#[derive(Default)]
pub(super) struct DrainDelay {
    pub(super) time: Duration,
    /// Connections end after a message that begins from now on.
    pub(super) is_retiring: AtomicBool,
    /// Set by the first call.
    pending: Mutex<Option<Pending>>,
}

struct Pending {
    /// `None` if it is further away than the clock goes.
    end: Option<Instant>,
    timer: Option<(Timer, Arc<EndOfDelay>)>,
}

impl DrainDelay {
    pub(super) fn new(time: Duration) -> Self {
        DrainDelay {
            time,
            ..DrainDelay::default()
        }
    }
}

impl ServerHandle {
    /// Begins the shutdown after this time, counted from the first call. Until then it accepts and serves, and
    /// is not ready. Never blocks.
    pub(crate) fn shutdown_after(&self, delay: Duration) {
        let mut pending = self.0.drain_delay.pending.lock();
        if pending.is_some() || self.is_shutdown_begun() {
            return;
        }
        let end = Instant::now().checked_add(delay);
        *pending = Some(Pending { end, timer: None });
        drop(pending);
        #[cfg(feature = "systemd")]
        crate::systemd::shutdown_begun(self);
        let name = self.log_name();
        log_line!(target: "socketserver::server", Info, "{name}: not ready; shutting down in {delay:?}");
        self.retire_connections();
        if let Some(children) = self.children() {
            children.drain();
            // The accept loop repeats it.
            self.0.poller.notify();
        }
        self.set_delay_timer();
    }

    /// Each connection ends after a message that begins from now on, when it is idle again, as at a shutdown;
    /// also those that are accepted later. Handlers see that the server is shutting down. Children of a server
    /// that forks do not know of it. Never blocks.
    pub(crate) fn retire_connections(&self) {
        // A new connection sees it, or is in the registry.
        let is_retiring = &self.0.drain_delay.is_retiring;
        is_retiring.store(true, Ordering::SeqCst);
        self.0.lingering.spare_clients();
        self.0
            .registry
            .for_each_connection(|connection| connection.retire());
    }

    /// Whether a delay has begun, so that children that get SIGTERM retire their connections.
    pub(super) fn children_retire(&self) -> bool {
        self.0.drain_delay.pending.lock().is_some()
    }

    /// Whether the connections end one after the other, before the shutdown begins.
    pub(crate) fn is_retiring(&self) -> bool {
        let is_retiring = &self.0.drain_delay.is_retiring;
        is_retiring.load(Ordering::SeqCst)
    }

    /// Sets the timer of a delay that has begun. A child that was forked meanwhile has no timers of its parent,
    /// and calls it again.
    pub(crate) fn set_delay_timer(&self) {
        let mut pending = self.0.drain_delay.pending.lock();
        let Some(pending_end) = pending.as_mut().filter(|_| !self.is_shutdown_begun()) else {
            return;
        };
        let Some(at) = pending_end.end else { return };
        let target = Arc::new(EndOfDelay(Arc::downgrade(&self.0)));
        let weak: Weak<EndOfDelay> = Arc::downgrade(&target);
        let set = Timer::set(at, weak).map(|timer| pending_end.timer = Some((timer, target)));
        drop(pending);
        if let Err(e) = set {
            log_line!(target: "socketserver::server", Error, "no timer for the drain delay: {e}");
            self.shutdown_now();
        }
    }
}

struct EndOfDelay(Weak<Shared>);

impl OnTimer for EndOfDelay {
    fn on_timer(&self, _: Instant) -> Option<Instant> {
        ServerHandle(self.0.upgrade()?).shutdown_now();
        None
    }
}
