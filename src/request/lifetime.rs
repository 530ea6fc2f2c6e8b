use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a connection may live and idle, and why it was ended if this side did that.
#[derive(Debug)]
pub(super) struct Lifetime {
    limits: Limits,
    phase: Mutex<Phase>,
    /// What the phase says, to be asked before and after each read.
    idle: AtomicBool,
    over: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<Duration>,
    /// From the start of the handler.
    pub(super) deadline: Option<Duration>,
}

#[derive(Debug)]
struct Phase {
    /// Since when the handler waits for a request, if it does: it says so, or nothing has been
    /// received or written yet.
    idle_since: Option<Instant>,
    /// When it comes, and how long it was.
    deadline: Option<(Instant, Duration)>,
    ended_for: Option<EndedFor>,
    /// The handler has started, and with it the clock.
    started: bool,
    /// The handler has taken the connection away from the server, which ends it no more.
    released: bool,
}

/// Why this side ended a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum EndedFor {
    /// It was idle when the server shut down.
    Shutdown,
    /// It was idle for too long.
    Idle,
    /// It was in a request when the server could wait no longer.
    Force,
    /// Its request took too long.
    Deadline(Duration),
    /// The handler has broken it off.
    Abort,
}

impl Lifetime {
    pub(super) fn new(limits: Limits) -> Self {
        let phase = Phase {
            idle_since: Some(Instant::now()),
            deadline: None,
            ended_for: None,
            started: false,
            released: false,
        };
        Lifetime {
            limits,
            phase: Mutex::new(phase),
            idle: AtomicBool::new(true),
            over: AtomicBool::new(false),
        }
    }

    /// The handler starts. Returns when the connection is to be looked at first, if ever.
    pub(super) fn start(&self) -> Option<Instant> {
        self.start_within(self.limits.deadline)
    }

    /// The same with another deadline.
    pub(super) fn start_within(&self, deadline: Option<Duration>) -> Option<Instant> {
        let now = Instant::now();
        let mut phase = self.phase.lock();
        phase.started = true;
        phase.deadline = deadline.and_then(|after| Some((now.checked_add(after)?, after)));
        self.next_look(&phase, now)
    }

    pub(super) fn idle(&self) {
        let mut phase = self.phase.lock();
        phase.idle_since = Some(Instant::now());
        self.idle.store(true, Ordering::Relaxed);
    }

    /// A request has begun; false if the server has ended the connection before that.
    pub(super) fn busy(&self) -> bool {
        let mut phase = self.phase.lock();
        phase.idle_since = None;
        self.idle.store(false, Ordering::Relaxed);
        phase.ended_for.is_none()
    }

    /// Only the handler, on both threads if it has split the connection, makes it idle or busy, and
    /// only it may ask.
    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Whether it is ended when it has been idle for too long.
    pub(super) fn has_idle_timeout(&self) -> bool {
        let phase = self.phase.lock();
        self.limits.idle_timeout.is_some() && phase.started && !phase.released
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn ended_for(&self) -> Option<EndedFor> {
        self.phase.lock().ended_for
    }

    pub(super) fn release(&self) {
        self.phase.lock().released = true;
    }

    /// Ends the connection through `stop`, which says whether it did, if there is reason to. No
    /// request begins meanwhile.
    pub(super) fn end(&self, why: EndedFor, stop: impl FnOnce(EndedFor) -> bool) {
        self.end_in(&mut self.phase.lock(), why, stop);
    }

    /// The handler ends it.
    pub(super) fn abort(&self) {
        let mut phase = self.phase.lock();
        if phase.ended_for.is_none_or(EndedFor::is_gentle) {
            phase.ended_for = Some(EndedFor::Abort);
            self.over.store(true, Ordering::Relaxed);
        }
    }

    /// Ends it if its time is over. Returns when to look again.
    pub(super) fn look(
        &self,
        now: Instant,
        stop: impl FnOnce(EndedFor) -> bool,
    ) -> Option<Instant> {
        let mut phase = self.phase.lock();
        if let Some((at, after)) = phase.deadline {
            if at <= now {
                self.end_in(&mut phase, EndedFor::Deadline(after), stop);
                return None;
            }
        }
        if self.idle_until(&phase).is_some_and(|at| at <= now) {
            self.end_in(&mut phase, EndedFor::Idle, stop);
        }
        self.next_look(&phase, now)
    }

    /// A busy connection may become idle at any time, so it is looked at after one idle time too.
    fn next_look(&self, phase: &Phase, now: Instant) -> Option<Instant> {
        let idle = match phase.ended_for {
            Some(_) => None,
            None => self
                .idle_until(phase)
                .filter(|at| *at > now)
                .or_else(|| now.checked_add(self.limits.idle_timeout?)),
        };
        let deadline = phase.deadline.map(|(at, _)| at);
        deadline.into_iter().chain(idle).min()
    }

    fn idle_until(&self, phase: &Phase) -> Option<Instant> {
        phase.idle_since?.checked_add(self.limits.idle_timeout?)
    }

    fn end_in(&self, phase: &mut Phase, why: EndedFor, stop: impl FnOnce(EndedFor) -> bool) {
        let stands = match phase.ended_for {
            None => !why.is_gentle() || phase.idle_since.is_some(),
            Some(before) => before.is_gentle() && !why.is_gentle(),
        };
        if stands && !phase.released && stop(why) {
            phase.ended_for = Some(why);
            self.over.store(true, Ordering::Relaxed);
        }
    }
}

impl EndedFor {
    /// Whether it ends only what waits for a request, and leaves the handler free to say goodbye.
    pub(super) fn is_gentle(self) -> bool {
        matches!(self, EndedFor::Shutdown | EndedFor::Idle)
    }

    /// What a read or write of the handler then sees: `None` for the end of the stream, which is
    /// what one who waits for a request is to see.
    pub(super) fn error(self, who: &dyn fmt::Display) -> Option<io::Error> {
        match self {
            EndedFor::Shutdown | EndedFor::Idle => None,
            EndedFor::Force => Some(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("the server is shutting down, and ended the connection from {who}"),
            )),
            EndedFor::Deadline(after) => Some(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the request from {who} was not done within {after:?}"),
            )),
            EndedFor::Abort => Some(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("the handler has aborted the connection from {who}"),
            )),
        }
    }
}
