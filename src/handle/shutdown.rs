use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{ServerHandle, Shared};
use crate::log_line::log_line;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sys::signals;
use crate::sys::timer::{OnTimer, Timer};
use crate::task;

/// How long a shutdown waits for requests after it has closed their connections by force.
const GRACE: Duration = Duration::from_millis(500);

/// Shutting down, and waiting for it.
impl ServerHandle {
    /// Begins a graceful shutdown (drain), and returns at once. [`wait`](Self::wait) waits for the accept
    /// loop to end.
    ///
    /// With a [`drain_delay`](crate::Builder::drain_delay) it begins after this delay: until then the server
    /// accepts and serves, but is not [ready](Self::is_ready).
    ///
    /// Running requests go on, at most for the
    /// [`shutdown_timeout`](crate::Builder::shutdown_timeout). Of each connection, the messages that have
    /// begun to arrive are served, and no later ones. [Idle](crate::StreamRequest::wait_for_data)
    /// connections end now.
    ///
    /// A shutdown cannot be undone. If it has begun before [`serve_forever`](crate::Server::serve_forever),
    /// that returns at once. A second call changes nothing. It never blocks, so it may be called in
    /// handlers, hooks and threads that handle signals.
    ///
    /// Python's `BaseServer.shutdown` waits for the loop to end, and so deadlocks where this does not.
    #[doc(alias("graceful shutdown", "drain", "SIGTERM", "quit"))]
    pub fn shutdown(&self) {
        match self.group() {
            Some(group) => group.shutdown_member(self),
            None => self.shutdown_delayed(self.0.drain_delay.time),
        }
    }

    pub(super) fn shutdown_delayed(&self, delay: Duration) {
        if delay.is_zero() {
            self.shutdown_now();
        } else {
            self.shutdown_after(delay);
        }
    }

    /// [`shutdown`](Self::shutdown) without a delay.
    pub(crate) fn shutdown_now(&self) {
        let shutdown = &self.0.shutdown;
        if !shutdown.begun.swap(true, Ordering::SeqCst) {
            self.force_after(shutdown.timeout);
        }
        #[cfg(feature = "systemd")]
        crate::systemd::shutdown_begun(self);
        self.0.serving.wake_waiting();
        if let Some(group) = self.group() {
            group.begin_shutdown();
        }
        self.0.lingering.shutdown();
        self.0.poller.notify();
        self.0.registry.for_each_connection(|conn| conn.drain());
        if let Some(children) = self.children() {
            children.drain();
        }
    }

    /// Shuts the server down and waits for running requests, at most for `timeout`. Then it resets the
    /// connections of those that are left, so that their blocked reads and writes fail, waits up to half
    /// a second more, and reports.
    ///
    /// It begins at once, and ends a [`drain_delay`](crate::Builder::drain_delay) that a plain
    /// [`shutdown`](Self::shutdown) has begun: `timeout` is all the time that there is.
    ///
    /// The calling thread's own request is neither waited for nor counted, but its connection is reset
    /// like the others. Requests that have not ended by then are not waited for when the server is closed
    /// either; their threads end with the process.
    ///
    /// May be called on any thread and more than once. Of several time limits, the one that ends first
    /// applies; [`shutdown_timeout`](crate::Builder::shutdown_timeout) is one of them if a plain
    /// [`shutdown`](Self::shutdown) was called before.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", |_| Ok(()))?.serve_in_background()?;
    /// let report = server.handle().shutdown_within(Duration::from_secs(5));
    /// assert_eq!(report.unfinished, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown_within(&self, timeout: Duration) -> DrainReport {
        let before = self.begin_shutdown(timeout);
        self.shutdown_now();
        self.drain_report(before)
    }

    /// Sets the time limit of the shutdown that the caller begins. Returns how many requests have ended
    /// before.
    pub(super) fn begin_shutdown(&self, timeout: Duration) -> u64 {
        let before = self.0.registry.ended();
        self.0.shutdown.begun.store(true, Ordering::SeqCst);
        self.force_after(Some(timeout));
        before
    }

    /// Waits for the end of a shutdown, which began when this many requests had ended.
    pub(super) fn drain_report(&self, before: u64) -> DrainReport {
        let (unfinished, ended) = task::blocking(|| {
            // A request may be between accept and dispatch.
            self.wait_until_stopped();
            self.wait_for_requests()
        });
        let forced = self.0.shutdown.force.lock().forced;
        let drained = forced.map_or(ended, |(_, ended)| ended).max(before);
        DrainReport {
            drained: difference(before, drained),
            forced: difference(drained, ended),
            unfinished,
        }
    }

    /// Whether [`shutdown`](Self::shutdown) was called or the server was closed; true during the
    /// [drain delay](crate::Builder::drain_delay) too. A handler of long-lived connections can check this between
    /// two messages, and one whose protocol has a word for it tells the client that the connection ends (HTTP:
    /// `Connection: close`).
    pub fn is_shutting_down(&self) -> bool {
        signals::run_pending();
        self.is_retiring() || self.is_shutdown_begun()
    }

    /// Whether the time for a graceful shutdown is over.
    pub(crate) fn is_forced(&self) -> bool {
        self.0.shutdown.force.lock().forced.is_some()
    }

    /// Whether the time in which a shutdown waits for requests is not over.
    #[cfg(feature = "systemd")]
    pub(crate) fn may_drain(&self) -> bool {
        let give_up_at = self.0.shutdown.give_up_at();
        give_up_at.is_none_or(|at| Instant::now() < at)
    }

    /// Closes every connection by force, in any state.
    pub(crate) fn force_close(&self) {
        self.0.force_close();
    }

    /// [`wait`](Self::wait), but returns some time after the forced close: a request that does not end
    /// may run on the thread that serves. Returns whether the server has stopped.
    pub(crate) fn wait_until_stopped(&self) -> bool {
        self.wait_while_serving(|| self.0.shutdown.give_up_at())
    }

    /// Waits for all requests but the calling thread's own, until some time after the forced close.
    /// Returns how many have not ended, and how many have.
    pub(crate) fn wait_for_requests(&self) -> (usize, u64) {
        let shutdown = &self.0.shutdown;
        loop {
            let next_poll = self.poll_children(true);
            let until = || shutdown.limit().0.into_iter().chain(next_poll).min();
            let (unfinished, ended) = self.0.registry.wait(self.running_here(), until);
            let (limit, is_forced) = shutdown.limit();
            let is_over = limit.is_some_and(|at| at <= Instant::now());
            if unfinished == 0 || is_over && is_forced {
                return (unfinished, ended);
            }
            if is_over {
                // The timer is late, or could not be set.
                self.force_close();
            }
        }
    }

    /// Waits until clients of closed connections have received what was sent, until `lingering_timeout` is
    /// over or some time after the forced close.
    pub(crate) fn wait_for_lingering(&self) {
        self.0.lingering.finish(self.0.shutdown.give_up_at());
    }

    /// Schedules the forced close, unless it is scheduled for an earlier time.
    fn force_after(&self, timeout: Option<Duration>) {
        let Some(at) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) else {
            return;
        };
        let shared: Weak<Shared> = Arc::downgrade(&self.0);
        let mut force = self.0.shutdown.force.lock();
        if force.at.is_some_and(|earlier| earlier <= at) {
            return;
        }
        force.at = Some(at);
        let set = Timer::set(at, shared).map(|timer| force.timer = Some(timer));
        drop(force);
        // The limit of waiting threads may be earlier now.
        self.0.wake_all_waiting();
        if let Err(e) = set {
            log_line!(target: "socketserver::server", Error, "no timer for the shutdown: {e}");
        }
    }
}

impl Shared {
    fn force_close(&self) {
        let (running, ended) = (self.registry.present(), self.registry.ended());
        let mut force = self.shutdown.force.lock();
        if force.forced.is_some() {
            return;
        }
        force.forced = Some((Instant::now(), ended));
        drop(force);
        // First: the process may end as soon as the requests have.
        if running > 0 {
            log_line!(
                target: "socketserver::server", Warn,
                "{}: closing the connections of {running} requests by force, because they had not ended in time",
                self.name()
            );
        }
        self.registry.for_each_connection(|conn| conn.force_close());
        self.lingering.close_all();
        if let Some(children) = &self.children {
            children.kill();
        }
        self.wake_all_waiting();
    }

    /// Waiting threads calculate their limit again.
    fn wake_all_waiting(&self) {
        self.registry.wake_waiting();
        self.serving.wake_waiting();
    }
}

/// The shutdown timeout has passed.
impl OnTimer for Shared {
    fn on_timer(&self, _: Instant) -> Option<Instant> {
        self.force_close();
        None
    }
}

/// How far a shutdown is.
pub(super) struct ShutdownState {
    pub(super) begun: AtomicBool,
    timeout: Option<Duration>,
    force: Mutex<ForcedClose>,
}

#[derive(Default)]
struct ForcedClose {
    /// When it is to happen, and the timer for it.
    at: Option<Instant>,
    timer: Option<Timer>,
    /// When it happened, and how many requests had ended before.
    forced: Option<(Instant, u64)>,
}

impl ShutdownState {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        ShutdownState {
            begun: AtomicBool::new(false),
            timeout,
            force: Mutex::default(),
        }
    }

    /// When the time of the requests is over, and whether their connections are closed by force already.
    fn limit(&self) -> (Option<Instant>, bool) {
        let force = self.force.lock();
        match force.forced {
            Some((at, _)) => (at.checked_add(GRACE), true),
            None => (force.at, false),
        }
    }

    /// When to stop waiting for requests that do not end.
    fn give_up_at(&self) -> Option<Instant> {
        let force = self.force.lock();
        let forced = force.forced.map(|(at, _)| at);
        forced.or(force.at)?.checked_add(GRACE)
    }
}

/// How the requests that ran at a shutdown have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// They ended by themselves.
    pub drained: usize,
    /// They ended after their connections were closed by force.
    pub forced: usize,
    /// They have not ended: their handlers loop, or wait for something other than their connection.
    pub unfinished: usize,
}

impl DrainReport {
    /// The sums for two servers.
    pub(super) fn plus(self, other: Self) -> Self {
        DrainReport {
            drained: self.drained + other.drained,
            forced: self.forced + other.forced,
            unfinished: self.unfinished + other.unfinished,
        }
    }
}

fn difference(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}
