use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{ServerHandle, Shared};
use crate::signals;
use crate::sync::atomic::Ordering;
use crate::timer::{Alarm, Timed};

impl ServerHandle {
    /// Tells the server to stop. Returns at once, whether or not the server has:
    /// [`wait`](Self::wait) waits for that.
    ///
    /// Requests that are running go on to their end, at most for the
    /// [`shutdown_timeout`](crate::Builder::shutdown_timeout); connections that [wait for a
    /// request](crate::StreamRequest::wait_for_data) end now.
    ///
    /// A shutdown is for good. Called before [`serve_forever`](crate::Server::serve_forever), it
    /// makes that return as soon as it is called; a second call changes nothing. It never blocks,
    /// so handlers, hooks and signal handling threads may call it.
    ///
    /// Python's `BaseServer.shutdown` waits for the loop to end, and so deadlocks where this does
    /// not.
    pub fn shutdown(&self) {
        if !self.0.shutting_down.swap(true, Ordering::SeqCst) {
            self.force_after(self.0.shutdown_timeout);
        }
        // Taken and let go, so that a thread between its look at the flag and its sleep in `wait`
        // is not missed.
        drop(self.0.state.lock());
        self.0.stopped.notify_all();
        self.0.bell.ring();
        self.0
            .registry
            .each_connection(|connection| connection.drain());
        if let Some(children) = self.children() {
            children.drain();
        }
    }

    /// Shuts the server down and waits for the requests that run, at most for `within`. Then it
    /// ends the connections of those that are left, by a reset each, so that blocked reads and writes
    /// end, waits up to half a second more, and says how it went.
    ///
    /// A request of the calling thread's own is neither waited for nor counted, but its connection is
    /// ended with the others. What is left behind is not waited for when the server is closed either;
    /// such a thread ends with the process.
    ///
    /// May be called from any thread and more than once. Of several bounds, that of
    /// [`shutdown_timeout`](crate::Builder::shutdown_timeout) included once a plain
    /// [`shutdown`](Self::shutdown) was called, the one that ends first holds.
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
    pub fn shutdown_within(&self, within: Duration) -> DrainReport {
        let before = self.0.registry.ended();
        self.0.shutting_down.store(true, Ordering::SeqCst);
        self.force_after(Some(within));
        self.shutdown();
        // A request may be on its way from accept to its handler.
        self.wait_until_stopped();
        let (unfinished, ended) = self.wait_for_requests();
        let forced = self.0.end.lock().forced;
        let drained = forced.map_or(ended, |(_, ended)| ended).max(before);
        DrainReport {
            drained: count(before, drained),
            forced: count(drained, ended),
            unfinished,
        }
    }

    /// Whether running requests were told to end.
    #[cfg(feature = "fork")]
    pub(crate) fn is_forced(&self) -> bool {
        self.0.end.lock().is_forced()
    }

    /// Ends every connection, whatever it is doing.
    pub(crate) fn force(&self) {
        self.0.force();
    }

    /// Waits for every request but the calling thread's own, until some time after they were forced.
    /// Returns how many are left behind, and how many have ended.
    pub(crate) fn wait_for_requests(&self) -> (usize, u64) {
        let give_up = || self.0.end.lock().give_up();
        let (left, ended) = loop {
            let look = self.look_after_children(true);
            let until = || give_up().into_iter().chain(look).min();
            let (left, ended) = self.0.registry.wait(until);
            if left == 0 || look.is_none() || give_up().is_some_and(|at| at <= Instant::now()) {
                break (left, ended);
            }
        };
        if left > 0 {
            // Done long ago, unless the timer could not be started.
            self.force();
        }
        (left, ended)
    }

    /// Takes leave of children that have ended, and tells others of a shutdown. Returns when to look
    /// again, if any are left.
    pub(crate) fn look_after_children(&self, soon: bool) -> Option<Instant> {
        let children = self.children()?;
        let pause = children.look(soon)?;
        if self.is_ending() {
            children.drain();
        }
        Some(Instant::now() + pause)
    }

    /// Has running requests forced after this time, or sooner if that is what somebody else has
    /// asked for.
    fn force_after(&self, within: Option<Duration>) {
        let Some(at) = within.and_then(|within| Instant::now().checked_add(within)) else {
            return;
        };
        let shared: Weak<Shared> = Arc::downgrade(&self.0);
        let mut end = self.0.end.lock();
        if end.at.is_some_and(|earlier| earlier <= at) {
            return;
        }
        end.at = Some(at);
        let set = Alarm::set(at, shared).map(|alarm| end.alarm = Some(alarm));
        drop(end);
        // Those who wait may have to give up sooner now.
        self.0.nudge();
        if let Err(e) = set {
            log::error!(target: "socketserver::server", "no timer for the shutdown: {e}");
        }
    }

    /// Whether [`shutdown`](Self::shutdown) was called or the server was closed. A handler of
    /// long-lived connections asks this between two requests.
    pub fn is_shutting_down(&self) -> bool {
        signals::heed();
        self.is_ending()
    }

    /// The same, where locks are held.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.shutting_down.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn force(&self) {
        let (late, ended) = (self.registry.present(), self.registry.ended());
        let mut end = self.end.lock();
        if end.forced.is_some() {
            return;
        }
        end.forced = Some((Instant::now(), ended));
        drop(end);
        self.registry.each_connection(|connection| connection.cut());
        if let Some(children) = &self.children {
            children.get().kill();
        }
        self.nudge();
        if late > 0 {
            log::warn!(
                target: "socketserver::server",
                "{}: ended the connections of {late} requests that had not ended by themselves",
                self.bound.get().unwrap_or(&self.requested)
            );
        }
    }

    /// Makes those who wait ask again for how long.
    fn nudge(&self) {
        self.registry.nudge();
        drop(self.state.lock());
        self.stopped.notify_all();
    }
}

fn count(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// The time that a shutdown gives running requests is over.
impl Timed for Shared {
    fn look(&self, _: Instant) -> Option<Instant> {
        self.force();
        None
    }
}

/// How the requests ended that ran when a server was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// They ended by themselves.
    pub drained: usize,
    /// They ended when their connections were ended.
    pub forced: usize,
    /// They have not ended: their handlers loop, or wait for something that is no connection.
    pub unfinished: usize,
}

/// How far a shutdown has gone.
#[derive(Default)]
pub(super) struct End {
    /// When running requests are to be forced, and what does it then.
    at: Option<Instant>,
    alarm: Option<Alarm>,
    /// When they were, and how many had ended by themselves.
    forced: Option<(Instant, u64)>,
}

impl End {
    pub(super) fn is_forced(&self) -> bool {
        self.forced.is_some()
    }

    /// When what still runs is left behind.
    pub(super) fn give_up(&self) -> Option<Instant> {
        let forced = self.forced.map(|(at, _)| at);
        forced.or(self.at)?.checked_add(GRACE)
    }
}

/// How long requests that were forced to end are waited for.
const GRACE: Duration = Duration::from_millis(500);
