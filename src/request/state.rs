use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::close_reason::CloseReason;

/// A connection's state: what its handler does, how far its end is, and who owns it.
///
/// The activity is in the mirror only. The rest is under the lock, and the mirror repeats it. A message
/// reads and writes the mirror only; it takes the lock when the connection is being closed.
#[derive(Debug)]
pub(super) struct ConnState {
    mirror: AtomicU64,
    locked: Mutex<Locked>,
    idle_timeout: Option<Duration>,
    created: Instant,
    /// Nanoseconds from `created` to the last change to idle. Kept up to date if there is an idle
    /// timeout.
    idle_since: AtomicU64,
}

#[derive(Debug)]
struct Locked {
    ending: Ending,
    owner: Owner,
    /// When the lifetime is over, and how long it was.
    lifetime: Option<(Instant, Duration)>,
}

/// What the handler does. The values are bits of the mirror.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// It serves a message.
    Busy = 0,
    /// Nothing was received or sent yet. Counts as idle.
    Accepted = 1,
    /// It waits for a message.
    Idle = 2,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Open,
    /// A graceful shutdown has begun: the connection ends when it becomes idle.
    Draining,
    /// It was ended as idle, but a message had begun to arrive, and is served to its end.
    ClosedLate(CloseReason),
    Closed(CloseReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Server,
    /// The handler has detached the connection; the server does not end it.
    Detached,
    /// A forked process has it.
    Child,
}

/// The bits of the mirror.
const ACTIVITY: u64 = 0b11;
/// `Ending::Draining`.
const DRAINING: u64 = 1 << 2;
/// `Ending::Closed` or `ClosedLate`, or that is being decided under the lock.
const CLOSED: u64 = 1 << 3;
/// `Ending::ClosedLate`.
const LATE: u64 = 1 << 4;
/// `Owner::Detached` or `Owner::Child`.
const NOT_SERVERS: u64 = 1 << 5;
/// The handler has begun, and the timer runs.
const BEGUN: u64 = 1 << 6;
/// The first bit of the flags.
const FLAGS: u64 = 1 << 7;
/// Counts the changes to idle, so that an old observation cannot be taken for a new one.
const GENERATION: u64 = 1 << 16;

/// What a connection's parts need to know at once, beside its state.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    /// The client has ended the stream, and everything was read.
    EndSeen = FLAGS as isize,
    /// The write buffer holds something.
    Unsent = (FLAGS << 1) as isize,
    /// The connection is split: a read does not flush the write buffer.
    Split = (FLAGS << 2) as isize,
}

/// The path of a message.
impl ConnState {
    pub(super) fn new(idle_timeout: Option<Duration>) -> Self {
        ConnState {
            mirror: AtomicU64::new(Activity::Accepted as u64),
            locked: Mutex::new(Locked {
                ending: Ending::Open,
                owner: Owner::Server,
                lifetime: None,
            }),
            idle_timeout,
            created: Instant::now(),
            idle_since: AtomicU64::new(0),
        }
    }

    /// The handler waits for a message. Returns whether a graceful shutdown has begun: then there is no
    /// next message unless it has arrived. A shutdown either sees that the connection is idle, or is
    /// seen here.
    pub(super) fn set_idle(&self) -> bool {
        if self.idle_timeout.is_some() {
            let nanos = self.created.elapsed().as_nanos();
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            self.idle_since.store(nanos, Ordering::SeqCst);
        }
        let idle = |mirror| Some(((mirror & !ACTIVITY) | Activity::Idle as u64) + GENERATION);
        let before = self
            .mirror
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, idle);
        let before = before.unwrap_or_else(|mirror| mirror);
        if before & LATE != 0 {
            self.end_late_message();
        }
        before & (DRAINING | NOT_SERVERS) == DRAINING
    }

    /// A message has begun. Returns false if the connection was closed as idle before.
    pub(super) fn set_busy(&self) -> bool {
        let before = self.mirror.fetch_and(!ACTIVITY, Ordering::SeqCst);
        before & CLOSED == 0 || self.close_reason().is_none()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.load() & ACTIVITY != Activity::Busy as u64
    }

    /// Whether it was closed, and no message is served to its end.
    pub(super) fn is_closed(&self) -> bool {
        self.load() & (CLOSED | LATE) == CLOSED && self.close_reason().is_some()
    }

    /// Whether a message is served to its end after the connection was closed as idle.
    pub(super) fn is_late(&self) -> bool {
        self.load() & LATE != 0
    }

    /// The error of a write after the connection was closed; a connection that was closed as idle can
    /// still be written to.
    pub(super) fn check_writable(&self, client: &dyn fmt::Display) -> io::Result<()> {
        if self.load() & CLOSED == 0 {
            return Ok(());
        }
        let error = self.close_reason().and_then(|reason| reason.error(client));
        error.map_or(Ok(()), Err)
    }

    pub(super) fn has(&self, flag: Flag) -> bool {
        self.load() & flag as u64 != 0
    }

    pub(super) fn set_flag(&self, flag: Flag, on: bool) {
        // A message is not to pay for what does not change.
        if self.has(flag) != on {
            self.set(flag as u64, on);
        }
    }

    fn load(&self) -> u64 {
        self.mirror.load(Ordering::Relaxed)
    }

    fn set(&self, bit: u64, on: bool) {
        if on {
            self.mirror.fetch_or(bit, Ordering::SeqCst);
        } else {
            self.mirror.fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

/// Beginning and ending.
impl ConnState {
    /// The handler begins. Returns when the timer is due first, if ever.
    pub(super) fn begin(&self, max_lifetime: Option<Duration>) -> Option<Instant> {
        let now = Instant::now();
        let mut locked = self.locked.lock();
        self.set(BEGUN, true);
        locked.lifetime = max_lifetime.and_then(|after| Some((now.checked_add(after)?, after)));
        self.next_timer(&locked, now)
    }

    /// A message has begun while the connection was closed as idle: it is served to its end.
    pub(super) fn begin_late_message(&self) {
        let mut locked = self.locked.lock();
        if let Ending::Closed(reason) = locked.ending {
            if reason.is_graceful() {
                self.set_ending(&mut locked, Ending::ClosedLate(reason));
            }
        }
    }

    fn end_late_message(&self) {
        let mut locked = self.locked.lock();
        if let Ending::ClosedLate(reason) = locked.ending {
            self.set_ending(&mut locked, Ending::Closed(reason));
        }
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.locked.lock().ending.reason()
    }

    /// Whether it ends when it has been idle for too long.
    pub(super) fn has_idle_timeout(&self) -> bool {
        self.idle_timeout.is_some() && self.load() & (BEGUN | NOT_SERVERS) == BEGUN
    }

    pub(super) fn is_servers(&self) -> bool {
        self.load() & NOT_SERVERS == 0
    }

    pub(super) fn is_childs(&self) -> bool {
        !self.is_servers() && self.locked.lock().owner == Owner::Child
    }

    /// From here on the server does not end the connection.
    pub(super) fn set_owner(&self, owner: Owner) {
        self.locked.lock().owner = owner;
        self.set(NOT_SERVERS, owner != Owner::Server);
    }

    /// A graceful shutdown: ends the connection through `stop` if it is idle, or else when it becomes
    /// idle. `stop` returns false if a message has arrived, which is served.
    pub(super) fn drain(&self, stop: impl FnOnce() -> bool) {
        let mut locked = self.locked.lock();
        if matches!(locked.ending, Ending::Open) {
            self.set_ending(&mut locked, Ending::Draining);
        }
        self.close_idle(&mut locked, CloseReason::Shutdown, |_| true, stop);
    }

    /// Closes the connection whatever it does, through `stop`.
    pub(super) fn close(&self, reason: CloseReason, stop: impl FnOnce()) {
        self.close_busy(&mut self.locked.lock(), reason, stop);
    }

    /// The handler closes it, whoever owns it.
    pub(super) fn abort(&self) {
        let mut locked = self.locked.lock();
        if locked.ending.reason().is_none_or(CloseReason::is_graceful) {
            self.set_ending(&mut locked, Ending::Closed(CloseReason::Aborted));
        }
    }

    /// Closes it if its lifetime is over or it was idle for too long. Returns when to call again.
    pub(super) fn on_timer(
        &self,
        now: Instant,
        stop_idle: impl FnOnce() -> bool,
        stop: impl FnOnce(),
    ) -> Option<Instant> {
        let mut locked = self.locked.lock();
        if let Some((at, after)) = locked.lifetime {
            if at <= now {
                self.close_busy(&mut locked, CloseReason::MaxLifetime(after), stop);
                return None;
            }
        }
        let is_due = |mirror| self.idle_until(mirror).is_some_and(|at| at <= now);
        self.close_idle(&mut locked, CloseReason::IdleTimeout, is_due, stop_idle);
        self.next_timer(&locked, now)
    }

    fn close_idle(
        &self,
        locked: &mut Locked,
        reason: CloseReason,
        is_due: impl Fn(u64) -> bool,
        stop: impl FnOnce() -> bool,
    ) {
        if locked.ending.reason().is_some() || locked.owner != Owner::Server {
            return;
        }
        // A message that begins from here on sees the bit, and waits for the lock.
        let close = |mirror: u64| {
            let is_idle = mirror & ACTIVITY != Activity::Busy as u64;
            (is_idle && is_due(mirror)).then_some(mirror | CLOSED)
        };
        let closes = self
            .mirror
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, close);
        if closes.is_err() {
            return;
        }
        if stop() {
            self.set_ending(locked, Ending::Closed(reason));
        } else {
            self.set(CLOSED, false);
        }
    }

    fn close_busy(&self, locked: &mut Locked, reason: CloseReason, stop: impl FnOnce()) {
        let may_close = locked.ending.reason().is_none_or(CloseReason::is_graceful);
        if may_close && locked.owner == Owner::Server {
            stop();
            self.set_ending(locked, Ending::Closed(reason));
        }
    }

    fn set_ending(&self, locked: &mut Locked, ending: Ending) {
        locked.ending = ending;
        let bits = match ending {
            Ending::Open => 0,
            Ending::Draining => DRAINING,
            Ending::ClosedLate(_) => CLOSED | LATE,
            Ending::Closed(_) => CLOSED,
        };
        // Draining and late end with the state; nothing but an undone close clears the bit for closed.
        self.set(LATE, bits & LATE != 0);
        self.set(bits, true);
    }

    /// A busy connection may become idle at any time, so the timer looks at it after one idle timeout
    /// too.
    fn next_timer(&self, locked: &Locked, now: Instant) -> Option<Instant> {
        let idle = match locked.ending.reason() {
            Some(_) => None,
            None => self
                .idle_until(self.load())
                .filter(|at| *at > now)
                .or_else(|| now.checked_add(self.idle_timeout?)),
        };
        let lifetime = locked.lifetime.map(|(at, _)| at);
        lifetime.into_iter().chain(idle).min()
    }

    fn idle_until(&self, mirror: u64) -> Option<Instant> {
        let timeout = self.idle_timeout?;
        if mirror & ACTIVITY == Activity::Busy as u64 {
            return None;
        }
        let since = Duration::from_nanos(self.idle_since.load(Ordering::SeqCst));
        self.created.checked_add(since)?.checked_add(timeout)
    }
}

impl Ending {
    fn reason(self) -> Option<CloseReason> {
        match self {
            Ending::Open | Ending::Draining => None,
            Ending::ClosedLate(reason) | Ending::Closed(reason) => Some(reason),
        }
    }
}
