use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a connection may live and idle, and why it was ended if the server did that.
#[derive(Debug)]
pub(super) struct Lifetime {
    limits: Limits,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) idle_timeout: Option<Duration>,
    /// Set when the handler starts.
    pub(super) deadline: Option<Duration>,
}

#[derive(Debug)]
struct Phase {
    /// Since when the handler waits for a request, if it does: it says so, or nothing has been
    /// received yet.
    idle_since: Option<Instant>,
    deadline: Option<Instant>,
    ended_for: Option<EndedFor>,
}

/// Why the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndedFor {
    /// It was idle when the server shut down.
    Shutdown,
    /// It was idle for too long.
    Idle,
    /// It was in a request when the server could wait no longer.
    Force,
    /// Its request took too long.
    Deadline(Duration),
}

impl Lifetime {
    pub(super) fn new(limits: Limits) -> Self {
        let phase = Phase {
            idle_since: Some(Instant::now()),
            deadline: None,
            ended_for: None,
        };
        Lifetime {
            limits,
            phase: Mutex::new(phase),
        }
    }

    /// The handler starts. Returns when the connection is to be looked at first, if ever.
    pub(super) fn start(&self) -> Option<Instant> {
        let mut phase = self.phase.lock();
        phase.deadline = self
            .limits
            .deadline
            .and_then(|after| Instant::now().checked_add(after));
        self.next_look(&phase)
    }

    pub(super) fn idle(&self) {
        self.phase.lock().idle_since = Some(Instant::now());
    }

    /// A request has begun; false if the server has ended the connection before that.
    pub(super) fn busy(&self) -> bool {
        let mut phase = self.phase.lock();
        phase.idle_since = None;
        phase.ended_for.is_none()
    }

    /// What is to be done about the connection now: end it, or look again later.
    pub(super) fn look(&self, now: Instant) -> Look {
        let phase = self.phase.lock();
        if let (Some(at), Some(after)) = (phase.deadline, self.limits.deadline) {
            if at <= now {
                return Look::End(EndedFor::Deadline(after));
            }
        }
        if let (Some(since), Some(timeout)) = (phase.idle_since, self.limits.idle_timeout) {
            if now.saturating_duration_since(since) >= timeout {
                return Look::End(EndedFor::Idle);
            }
        }
        self.next_look(&phase).map_or(Look::Never, Look::Again)
    }

    /// A busy connection may become idle at any time, so it is looked at after one idle time too.
    fn next_look(&self, phase: &Phase) -> Option<Instant> {
        let idle_since = phase.idle_since.unwrap_or_else(Instant::now);
        let idle = self
            .limits
            .idle_timeout
            .and_then(|timeout| idle_since.checked_add(timeout));
        phase.deadline.into_iter().chain(idle).min()
    }

    /// Ends an idle connection: `end` runs only if it is idle, and it stays so meanwhile.
    pub(super) fn if_idle(&self, why: EndedFor, end: impl FnOnce() -> bool) {
        let mut phase = self.phase.lock();
        if phase.idle_since.is_some() && end() {
            phase.ended_for.get_or_insert(why);
        }
    }

    /// The server ends the connection. The first reason counts.
    pub(super) fn end(&self, why: EndedFor) {
        self.phase.lock().ended_for.get_or_insert(why);
    }

    pub(super) fn ended_for(&self) -> Option<EndedFor> {
        self.phase.lock().ended_for
    }
}

pub(super) enum Look {
    End(EndedFor),
    Again(Instant),
    Never,
}

impl EndedFor {
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
        }
    }
}
