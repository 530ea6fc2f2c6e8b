use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::close_reason::{CloseReason, closed};
pub(super) use super::mirror::Flag;
use super::mirror::Mirror;
pub(super) use super::mirror::Snapshot;

/// A connection's state: the activity of its handler, the progress of its end, and its owner.
///
/// The activity is in the mirror only. The rest is under the lock, and the mirror repeats it. A message
/// reads and writes the mirror only; it takes the lock when the connection is being closed.
#[derive(Debug)]
#[repr(C)] // In this order: what each message uses is first.
pub(super) struct ConnState {
    mirror: Mirror,
    idle_timeout: Option<Duration>,
    created: Instant,
    /// Nanoseconds from `created` to the last change to idle. Up to date only if there is an idle
    /// timeout: without one a message does not read the clock.
    idle_since: AtomicU64,
    locked: Mutex<Locked>,
}

#[derive(Debug)]
struct Locked {
    ending: Ending,
    /// A message that begins here in the stream of input, or later, is not served. `None` until a
    /// shutdown begins, or the connection is closed as idle.
    mark: Option<u64>,
    owner: Owner,
    /// When the lifetime is over, and how long it was.
    lifetime: Option<(Instant, Duration)>,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Open,
    /// A graceful shutdown has begun: the connection ends after the last message before the mark.
    Draining,
    /// It was closed as idle while the first bytes of a message were received. They are before the mark.
    ClosedLate(CloseReason),
    Closed(CloseReason),
}

/// How many bytes of a connection's input have arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrived {
    /// By the handler.
    pub(super) received: u64,
    /// In the socket.
    pub(super) unread: u64,
}

impl Arrived {
    fn end(self) -> u64 {
        self.received + self.unread
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Server,
    /// The handler has detached the connection; the server does not end it.
    Detached,
    /// A forked process has it, or the program has taken the socket.
    Child,
}

/// The path of a message.
impl ConnState {
    pub(super) fn new(idle_timeout: Option<Duration>) -> Self {
        ConnState {
            mirror: Mirror::new(),
            locked: Mutex::new(Locked {
                ending: Ending::Open,
                mark: None,
                owner: Owner::Server,
                lifetime: None,
            }),
            idle_timeout,
            created: Instant::now(),
            idle_since: AtomicU64::new(0),
        }
    }

    /// The handler waits for a message. A shutdown either sees that the connection is idle, or is seen by
    /// [`may_begin`](Self::may_begin). Returns the mirror before the change.
    pub(super) fn set_idle(&self) -> Snapshot {
        self.restart_idle_time();
        self.mirror.set_idle()
    }

    /// If it is idle, then since now.
    pub(super) fn restart_idle_time(&self) {
        if self.idle_timeout.is_some() {
            let nanos = u64::try_from(self.created.elapsed().as_nanos());
            let nanos = nanos.unwrap_or(u64::MAX);
            self.idle_since.store(nanos, Ordering::SeqCst);
        }
    }

    /// Whether a message that begins at `position` in the stream of input is served. If not, the
    /// connection is closed for input from here on.
    ///
    /// # Errors
    ///
    /// The connection was closed in any state.
    #[inline(always)]
    pub(super) fn may_begin(&self, position: u64, client: &dyn fmt::Display) -> io::Result<bool> {
        let now = self.mirror.load();
        if !(now.has(Flag::Draining) || now.has(Flag::Closed)) || !self.is_servers() {
            return Ok(true);
        }
        self.may_begin_while_ending(position, client)
    }

    #[cold]
    #[inline(never)]
    fn may_begin_while_ending(&self, position: u64, client: &dyn fmt::Display) -> io::Result<bool> {
        let mut locked = self.locked.lock();
        if let Some(error) = locked
            .ending
            .reason()
            .and_then(|reason| reason.error(client))
        {
            return Err(error);
        }
        let is_served = match locked.ending {
            Ending::Open => true,
            Ending::Draining | Ending::ClosedLate(_) => {
                locked.mark.is_none_or(|mark| position < mark)
            }
            Ending::Closed(_) => false,
        };
        if !is_served {
            let reason = locked.ending.reason().unwrap_or(CloseReason::Shutdown);
            self.set_ending(&mut locked, Ending::Closed(reason));
        }
        Ok(is_served)
    }

    /// Whether a shutdown has set the mark.
    pub(super) fn has_mark(&self) -> bool {
        // The flag is set first. The lock waits until the mark is set too.
        self.has(Flag::Draining) && self.locked.lock().mark.is_some()
    }

    /// Moves the mark to what has arrived now, unless it is behind that. Called when a shutdown has set it
    /// while the handler received: then it does not count those bytes.
    pub(super) fn extend_mark(&self, arrived: impl Fn() -> Arrived) {
        let mut locked = self.locked.lock();
        locked.mark = locked.mark.map(|mark| mark.max(arrived().end()));
    }

    /// Moves the mark, if there is one, to where it is known to be.
    pub(super) fn set_mark(&self, position: u64) {
        let mut locked = self.locked.lock();
        locked.mark = locked.mark.map(|_| position);
    }

    /// The handshake is done, and the connection is as it was accepted.
    #[cfg(feature = "tls")]
    pub(super) fn set_accepted(&self) {
        self.restart_idle_time();
        self.mirror.set_accepted();
    }

    /// Whether the handler has waited for a message, so that a message may follow the current one.
    pub(super) fn has_boundaries(&self) -> bool {
        self.mirror.load().was_idle()
    }

    /// Receives through `receive`, which does not block: a shutdown sees what has arrived either before or
    /// after it. Returns 0 if the connection is closed. Unless it is the beginning of a message, the connection
    /// stays idle.
    pub(super) fn receive_locked(
        &self,
        begins_message: bool,
        receive: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let locked = self.locked.lock();
        if matches!(locked.ending, Ending::Closed(_)) {
            return Ok(0);
        }
        let received = receive()?;
        if received > 0 && begins_message && self.is_idle() {
            self.mirror.set_busy();
        }
        Ok(received)
    }

    /// A message has begun. Returns false if the connection was closed as idle before.
    pub(super) fn set_busy(&self) -> bool {
        !self.mirror.set_busy().has(Flag::Closed) || self.close_reason().is_none()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.mirror.load().is_idle()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.mirror.load()
    }

    pub(super) fn has(&self, flag: Flag) -> bool {
        self.mirror.load().has(flag)
    }

    pub(super) fn set(&self, flag: Flag, on: bool) {
        self.mirror.set(flag, on);
    }

    /// Whether it was closed, and no message is served to its end.
    pub(super) fn is_closed(&self) -> bool {
        let now = self.mirror.load();
        now.has(Flag::Closed) && !now.has(Flag::Late) && self.close_reason().is_some()
    }

    /// The error of a write after the connection was closed; a connection that was closed as idle can
    /// still be written to.
    pub(super) fn check_writable(&self, client: &dyn fmt::Display) -> io::Result<()> {
        let now = self.mirror.load();
        if now.has(Flag::Closed) || now.has(Flag::NotServers) {
            self.check_open(client)?;
        }
        if now.has(Flag::Torn) {
            let text = format!("an earlier message to {client} was sent only in part");
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        Ok(())
    }

    /// The error of all operations after the connection was closed.
    #[cold]
    pub(super) fn check_open(&self, client: &dyn fmt::Display) -> io::Result<()> {
        let now = self.mirror.load();
        if now.has(Flag::Closed) {
            let error = self.close_reason().and_then(|reason| reason.error(client));
            error.map_or(Ok(()), Err)?;
        }
        if now.has(Flag::NotServers) && self.is_childs() {
            return Err(closed(client));
        }
        Ok(())
    }
}

/// Beginning and ending.
impl ConnState {
    /// The handler begins. Returns when the timer is due first, if ever.
    pub(super) fn begin(&self, max_lifetime: Option<Duration>) -> Option<Instant> {
        let now = Instant::now();
        let mut locked = self.locked.lock();
        self.mirror.set(Flag::Begun, true);
        locked.lifetime = max_lifetime.and_then(|after| Some((now.checked_add(after)?, after)));
        self.next_timer(&locked, now)
    }

    /// What was received up to here may have arrived before the connection was closed as idle. So the
    /// messages in it are served.
    pub(super) fn begin_late_message(&self, received: u64) {
        let mut locked = self.locked.lock();
        if let Ending::Closed(reason) = locked.ending {
            if reason.is_graceful() {
                // A shutdown's mark stays: what it includes was known before.
                if !self.has(Flag::Draining) {
                    locked.mark = locked.mark.max(Some(received));
                }
                self.set_ending(&mut locked, Ending::ClosedLate(reason));
            }
        }
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        self.locked.lock().ending.reason()
    }

    /// Whether it was closed in a way that ends busy connections too.
    pub(super) fn is_reset(&self) -> bool {
        let reason = self.close_reason();
        reason.is_some_and(|reason| !reason.is_graceful())
    }

    /// Whether it ends when it has been idle for too long.
    pub(super) fn has_idle_timeout(&self) -> bool {
        self.idle_timeout.is_some() && self.has(Flag::Begun) && self.is_servers()
    }

    pub(super) fn is_servers(&self) -> bool {
        !self.has(Flag::NotServers)
    }

    pub(super) fn is_childs(&self) -> bool {
        !self.is_servers() && self.locked.lock().owner == Owner::Child
    }

    /// From here on the server does not end the connection.
    pub(super) fn set_owner(&self, owner: Owner) {
        self.locked.lock().owner = owner;
        self.mirror.set(Flag::NotServers, owner != Owner::Server);
    }

    /// The connection ends after a message that begins from now on.
    pub(super) fn retire(&self) {
        self.mirror.retire();
    }

    /// A graceful shutdown: ends the connection through `stop` if it is idle, or else after the last message that
    /// begins before the end of what has arrived. The first one gets that from `begin`.
    pub(super) fn drain(
        &self,
        begin: impl FnOnce() -> Arrived,
        arrived: impl Fn() -> Arrived,
        stop: impl FnOnce(),
    ) {
        let mut locked = self.locked.lock();
        if matches!(locked.ending, Ending::Open) {
            // From here on the handler sees that there is a mark, and waits for the lock to read it.
            self.set_ending(&mut locked, Ending::Draining);
            locked.mark = Some(begin().end());
        }
        self.close_idle(&mut locked, CloseReason::Shutdown, |_| true, arrived, stop);
    }

    /// Called by the handler that waits for a message: ends the connection, unless something has arrived.
    pub(super) fn end_idle(&self, arrived: impl Fn() -> Arrived) {
        let mut locked = self.locked.lock();
        self.close_idle(&mut locked, CloseReason::Shutdown, |_| true, arrived, || {});
    }

    /// Closes the connection in any state, through `stop`.
    pub(super) fn close(&self, reason: CloseReason, stop: impl FnOnce()) {
        self.close_busy(&mut self.locked.lock(), reason, stop);
    }

    /// Closes the connection in any state, whoever owns it.
    pub(super) fn end(&self, reason: CloseReason) {
        let mut locked = self.locked.lock();
        if locked.ending.reason().is_none_or(CloseReason::is_graceful) {
            self.set_ending(&mut locked, Ending::Closed(reason));
        }
    }

    /// Closes it if its lifetime is over or it was idle for too long. Returns when to call again.
    pub(super) fn on_timer(
        &self,
        now: Instant,
        arrived: impl Fn() -> Arrived,
        stop_idle: impl FnOnce(),
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
        let reason = CloseReason::IdleTimeout;
        self.close_idle(&mut locked, reason, is_due, arrived, stop_idle);
        self.next_timer(&locked, now)
    }

    fn close_idle(
        &self,
        locked: &mut Locked,
        reason: CloseReason,
        is_due: impl Fn(Snapshot) -> bool,
        arrived: impl Fn() -> Arrived,
        stop: impl FnOnce(),
    ) {
        if locked.ending.reason().is_some() || locked.owner != Owner::Server {
            return;
        }
        // A message that begins from here on sees the flag, and waits for the lock.
        let may_close = |mirror: Snapshot| mirror.is_idle() && is_due(mirror);
        if !self.mirror.close_if(may_close) {
            return;
        }
        let arrived = arrived();
        if arrived.unread > 0 {
            self.mirror.set(Flag::Closed, false);
            return;
        }
        stop();
        locked.mark.get_or_insert(arrived.end());
        self.set_ending(locked, Ending::Closed(reason));
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
        let is_late = matches!(ending, Ending::ClosedLate(_));
        self.mirror.set(Flag::Late, is_late);
        self.mirror.set(Flag::Closed, ending.reason().is_some());
        // Stays: a connection that is closed is draining too.
        if matches!(ending, Ending::Draining) {
            self.mirror.set(Flag::Draining, true);
        }
    }

    /// A busy connection may become idle at any time, so the timer checks it after one idle timeout
    /// too.
    fn next_timer(&self, locked: &Locked, now: Instant) -> Option<Instant> {
        let idle = match locked.ending.reason() {
            Some(_) => None,
            None => self
                .idle_until(self.mirror.load())
                .filter(|at| *at > now)
                .or_else(|| now.checked_add(self.idle_timeout?)),
        };
        let lifetime = locked.lifetime.map(|(at, _)| at);
        lifetime.into_iter().chain(idle).min()
    }

    fn idle_until(&self, mirror: Snapshot) -> Option<Instant> {
        let timeout = self.idle_timeout?;
        if !mirror.is_idle() {
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
