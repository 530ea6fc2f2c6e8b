use std::sync::atomic::{AtomicU64, Ordering};

/// What the handler of a connection does. The values are bits of the mirror.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// It serves a message.
    Busy = 0,
    /// Nothing was received or sent yet. Counts as idle.
    Accepted = 1,
    /// It waits for a message.
    Idle = 2,
}

/// One bit of the mirror.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    /// `Ending::Draining`.
    Draining = 1 << 2,
    /// `Ending::Closed` or `ClosedLate`, or one of them is being decided under the lock.
    Closed = 1 << 3,
    /// `Ending::ClosedLate`.
    Late = 1 << 4,
    /// `Owner::Detached` or `Owner::Child`.
    NotServers = 1 << 5,
    /// The handler has begun, and the timer runs.
    Begun = 1 << 6,
    /// The client has ended the stream, and everything was read.
    EndSeen = 1 << 7,
    /// The write buffer holds something.
    Unsent = 1 << 8,
    /// The connection is split: a read does not flush the write buffer.
    Split = 1 << 9,
    /// A message was sent only in part: what is sent after it would be in the middle of it.
    Torn = 1 << 10,
    /// This side has shut down the reading side, to end the wait of an idle connection.
    ReadingEnded = 1 << 11,
    /// Messages of an outbox are queued.
    Queued = 1 << 12,
    /// The connection ends after a message that begins from now on.
    Retired = 1 << 13,
    /// The message that is served, or the next one, is that message.
    LastMessage = 1 << 14,
}

/// A connection's activity, and a copy of the rest of its state, in one atomic: all that a message has to
/// read and write.
#[derive(Debug)]
pub(super) struct Mirror(AtomicU64);

/// The mirror at one moment.
#[derive(Clone, Copy)]
pub(super) struct Snapshot(u64);

const ACTIVITY: u64 = 0b11;
/// Counts the changes to idle, so that an old snapshot does not match a newer idle time.
const GENERATION: u64 = 1 << 16;

impl Mirror {
    pub(super) fn new() -> Self {
        Mirror(AtomicU64::new(Activity::Accepted as u64))
    }

    pub(super) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::SeqCst))
    }

    /// Returns the mirror before the change.
    pub(super) fn set_idle(&self) -> Snapshot {
        let idle = |bits| Some(((bits & !ACTIVITY) | Activity::Idle as u64) + GENERATION);
        // Cannot fail: `idle` always returns a value.
        let (Ok(before) | Err(before)) =
            self.0
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, idle);
        Snapshot(before)
    }

    /// Sets `Retired`, and `LastMessage` if no message has begun since it became idle.
    pub(super) fn retire(&self) {
        let retire = |bits| {
            let last = match bits & ACTIVITY == Activity::Idle as u64 {
                true => Flag::LastMessage as u64,
                false => 0,
            };
            let is_first = !Snapshot(bits).has(Flag::Retired);
            is_first.then_some(bits | Flag::Retired as u64 | last)
        };
        // Fails if it was retired before.
        let _ = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, retire);
    }

    /// Returns the mirror before the change.
    pub(super) fn set_busy(&self) -> Snapshot {
        Snapshot(self.0.fetch_and(!ACTIVITY, Ordering::SeqCst))
    }

    #[cfg(feature = "tls")]
    pub(super) fn set_accepted(&self) {
        self.0.fetch_or(Activity::Accepted as u64, Ordering::SeqCst);
    }

    pub(super) fn set(&self, flag: Flag, on: bool) {
        // A message does not pay for what does not change.
        if self.load().has(flag) == on {
            return;
        }
        if on {
            self.0.fetch_or(flag as u64, Ordering::SeqCst);
        } else {
            self.0.fetch_and(!(flag as u64), Ordering::SeqCst);
        }
    }

    /// Sets `Closed` if `may_close` agrees to the very state in which it is set. Returns whether it is.
    pub(super) fn close_if(&self, may_close: impl Fn(Snapshot) -> bool) -> bool {
        let close = |bits| may_close(Snapshot(bits)).then_some(bits | Flag::Closed as u64);
        let closed = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, close);
        closed.is_ok()
    }
}

impl Snapshot {
    pub(super) fn has(self, flag: Flag) -> bool {
        self.0 & flag as u64 != 0
    }

    pub(super) fn is_idle(self) -> bool {
        self.0 & ACTIVITY != Activity::Busy as u64
    }

    pub(super) fn was_idle(self) -> bool {
        self.0 >= GENERATION
    }
}
