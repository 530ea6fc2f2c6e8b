use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use crate::log_line::log_line;

/// The pauses after accept errors, each twice as long as the one before until a client is accepted.
#[derive(Default)]
pub(super) struct Backoff {
    pub(super) until: Option<Instant>,
    last: Option<Duration>,
    retries: u32,
    warned_at: Option<Instant>,
    has_failed: bool,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(5);
    pub(super) const LONGEST: Duration = Duration::from_secs(1);
    const MAX_RETRIES: u32 = 1000;

    #[inline]
    pub(super) fn is_pausing(&mut self) -> bool {
        self.until = self.until.filter(|until| Instant::now() < *until);
        self.until.is_some()
    }

    /// Whether to retry at once. An error that comes again and again is not one client's.
    pub(super) fn may_retry(&mut self) -> bool {
        self.retries += 1;
        self.retries <= Self::MAX_RETRIES
    }

    /// Logs one line per second at most.
    pub(super) fn pause(&mut self, error: &io::Error, server: &dyn fmt::Display) {
        let is_recent = |at: Instant| at.elapsed() < Self::LONGEST;
        if !self.warned_at.is_some_and(is_recent) {
            self.warned_at = Some(Instant::now());
            self.has_failed = true;
            log_line!(
                target: "socketserver::server", Warn,
                "cannot accept on {server}: {error}; trying again at least every {:?}", Self::LONGEST
            );
        }
        let pause = self
            .last
            .map_or(Self::SHORTEST, |last| Self::LONGEST.min(last * 2));
        self.last = Some(pause);
        self.until = Some(Instant::now() + pause);
    }

    pub(super) fn reset(&mut self) {
        (self.last, self.retries) = (None, 0);
    }

    pub(super) fn all_accepted(&mut self, server: &dyn fmt::Display) {
        self.reset();
        if std::mem::take(&mut self.has_failed) {
            log_line!(target: "socketserver::server", Info, "accepting again on {server}");
        }
    }
}
