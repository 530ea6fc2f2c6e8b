use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

pub(crate) use polling::Events;
use polling::{Event, PollMode};

use crate::sync;

/// Where the accept loop waits: for a client, a notification or a deadline.
pub(crate) struct Poller(sync::Poller);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        sync::Poller::new().map(Poller)
    }

    /// Ends the current [`wait`](Self::wait), or the next one. Never blocks.
    pub(crate) fn notify(&self) {
        // Fails only if the eventfd is full: then it is notified already.
        let _ = self.0.notify();
    }

    /// Waits until `listener` is readable (with `None` no descriptor is watched), somebody notifies, or
    /// the deadline has passed.
    ///
    /// The descriptor is registered only during the call: a busy server never registers it, and nothing
    /// stays behind. Level-triggered, so that no client is missed.
    pub(crate) fn wait(
        &self,
        listener: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
        events: &mut Events,
    ) -> io::Result<()> {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        events.clear();
        let Some(listener) = listener else {
            return self.0.wait(events, timeout).map(drop);
        };
        // SAFETY: the descriptor is borrowed for longer than this call, which removes it again.
        unsafe {
            self.0
                .add_with_mode(&listener, Event::readable(0), PollMode::Level)?
        };
        let waited = self.0.wait(events, timeout);
        self.0.delete(listener)?;
        waited.map(drop)
    }
}
