use std::fmt;
use std::sync::OnceLock;

use crate::limits::RejectReason;
use crate::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "tls")]
use crate::tls::TlsStatistics;

/// The counts of a server since its start, and its current state: a snapshot from
/// [`ServerHandle::statistics`](crate::ServerHandle::statistics).
///
/// A request is an accepted connection or a datagram. All counts of requests are taken at the same
/// moment and add up: `accepted` = `active` + `queued` + [`rejected`](RejectedCounts::total) +
/// `finished` + `failed` + `panicked` + `timed_out` + `disconnected`. Bytes and threads are read at
/// about the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Requests accepted from the kernel.
    pub accepted: u64,
    /// Requests being served: from `verify_request` through setup, handle and finish to close.
    pub active: usize,
    /// Requests in the pending queue, with [`OverloadPolicy::Queue`](crate::OverloadPolicy::Queue).
    pub queued: usize,
    /// Requests that were not handled.
    pub rejected: RejectedCounts,
    /// Requests that ended without an error.
    pub finished: u64,
    /// Requests that ended with an error that does not count below.
    pub failed: u64,
    /// Requests whose handler panicked, or whose child process a signal killed.
    pub panicked: u64,
    /// Requests that ended with an error of the kind `TimedOut`: a read or write timeout, or the end of
    /// `max_lifetime`. An idle timeout is not an error and counts as `finished`.
    pub timed_out: u64,
    /// Requests whose client closed the connection too early, or did not exist any more when a datagram was
    /// answered, or whose connection a forced close ended.
    /// [`RequestError::is_disconnect`](crate::RequestError::is_disconnect) states the rule.
    pub disconnected: u64,
    /// Bytes read from clients. A detached connection counts until it is detached.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Closed connections whose clients may still send: see
    /// [`max_lingering`](crate::Builder::max_lingering). They are not counted in `active`.
    pub lingering: usize,
    /// Threads of the pool, idle ones included, or workers of `Green`; 0 with other dispatchers.
    pub threads: usize,
    /// How often a request has blocked a worker of [`Green`](crate::dispatch) for 100 ms or longer, so that the
    /// worker's other requests had to wait.
    pub blocked_workers: u64,
    /// Handshakes and encrypted bytes. Feature `tls`.
    #[cfg(feature = "tls")]
    pub tls: TlsStatistics,
    /// The highest `active` so far.
    pub peak_active: usize,
    /// The highest `queued` so far.
    pub peak_queued: usize,
    /// The highest `threads` so far.
    pub peak_threads: usize,
}

/// How many requests were not handled, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedCounts {
    /// [`verify_request`](crate::Hooks::verify_request) returned false, failed or panicked; or the client is not
    /// one of the trusted proxies of a server that requires PROXY headers.
    pub refused: u64,
    /// Overload, with [`OverloadPolicy::Reject`](crate::OverloadPolicy::Reject).
    pub overload: u64,
    /// They waited in the pending queue for too long.
    pub queue_timeout: u64,
    /// Their client IP had reached [`max_per_ip`](crate::Builder::max_per_ip).
    pub per_ip: u64,
    /// They were in the pending queue when the server shut down, or their PROXY header had not arrived.
    pub shutdown: u64,
    /// They could not be dispatched: no thread could be started, or the dispatcher dropped the job.
    pub dispatch: u64,
}

impl RejectedCounts {
    /// The sum of all causes.
    pub fn total(&self) -> u64 {
        self.refused
            + self.overload
            + self.queue_timeout
            + self.per_ip
            + self.shutdown
            + self.dispatch
    }

    fn plus(self, other: Self) -> Self {
        RejectedCounts {
            refused: self.refused + other.refused,
            overload: self.overload + other.overload,
            queue_timeout: self.queue_timeout + other.queue_timeout,
            per_ip: self.per_ip + other.per_ip,
            shutdown: self.shutdown + other.shutdown,
            dispatch: self.dispatch + other.dispatch,
        }
    }
}

/// Where a request is between accept and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestState {
    /// In the pending queue.
    Queued,
    /// On its way to a handler, or with one.
    Active,
    /// On its way out, never handled.
    Rejected(Cause),
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    NotHandled(Cause),
    Handled(Outcome),
}

/// How a request ended. If several apply, the last one in this list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Finished,
    Disconnected,
    Failed,
    TimedOut,
    Panicked,
}

/// Why a request was not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Refused,
    Dispatch,
    RejectReason(RejectReason),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Finished => "finished",
            Outcome::Disconnected => "disconnected",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed out",
            Outcome::Panicked => "panicked",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused => f.write_str("refused"),
            Cause::Dispatch => f.write_str("rejected (not dispatched)"),
            Cause::RejectReason(why) => write!(f, "rejected ({why})"),
        }
    }
}

impl fmt::Display for RequestEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestEnd::NotHandled(cause) => cause.fmt(f),
            RequestEnd::Handled(outcome) => outcome.fmt(f),
        }
    }
}

impl Statistics {
    /// The sums for two servers.
    pub(crate) fn plus(self, other: Self) -> Self {
        Statistics {
            accepted: self.accepted + other.accepted,
            active: self.active + other.active,
            queued: self.queued + other.queued,
            rejected: self.rejected.plus(other.rejected),
            finished: self.finished + other.finished,
            failed: self.failed + other.failed,
            panicked: self.panicked + other.panicked,
            timed_out: self.timed_out + other.timed_out,
            disconnected: self.disconnected + other.disconnected,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            lingering: self.lingering + other.lingering,
            threads: self.threads + other.threads,
            blocked_workers: self.blocked_workers + other.blocked_workers,
            #[cfg(feature = "tls")]
            tls: self.tls.plus(other.tls),
            peak_active: self.peak_active + other.peak_active,
            peak_queued: self.peak_queued + other.peak_queued,
            peak_threads: self.peak_threads + other.peak_threads,
        }
    }

    pub(crate) fn enter_state(&mut self, state: RequestState) {
        match state {
            RequestState::Queued => {
                self.queued += 1;
                self.peak_queued = self.peak_queued.max(self.queued);
            }
            RequestState::Active => {
                self.active += 1;
                self.peak_active = self.peak_active.max(self.active);
            }
            RequestState::Rejected(cause) => self.count_rejected(cause),
        }
    }

    pub(crate) fn leave_state(&mut self, state: RequestState) {
        match state {
            RequestState::Queued => self.queued -= 1,
            RequestState::Active => self.active -= 1,
            RequestState::Rejected(_) => {}
        }
    }

    pub(crate) fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Finished => &mut self.finished,
            Outcome::Disconnected => &mut self.disconnected,
            Outcome::Failed => &mut self.failed,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Panicked => &mut self.panicked,
        } += 1;
    }

    pub(crate) fn count_rejected(&mut self, cause: Cause) {
        let rejected = &mut self.rejected;
        *match cause {
            Cause::Refused => &mut rejected.refused,
            Cause::Dispatch => &mut rejected.dispatch,
            Cause::RejectReason(RejectReason::Overload) => &mut rejected.overload,
            Cause::RejectReason(RejectReason::QueueTimeout) => &mut rejected.queue_timeout,
            Cause::RejectReason(RejectReason::PerIp) => &mut rejected.per_ip,
            Cause::RejectReason(RejectReason::Shutdown) => &mut rejected.shutdown,
        } += 1;
    }
}

/// Bytes received and sent. Only one thread at a time writes each counter: a connection has one reader,
/// and a lock for writers.
#[derive(Debug, Default)]
pub struct ByteCounters {
    received: AtomicU64,
    sent: AtomicU64,
    /// Those of a detached connection count for the server up to then.
    at_detach: OnceLock<(u64, u64)>,
}

impl ByteCounters {
    /// In one order with a connection's state: a shutdown sees the bytes, or the handler sees the shutdown.
    pub(crate) fn add_received(&self, bytes: usize) {
        let sum = self.received.load(Ordering::Relaxed) + bytes as u64;
        self.received.store(sum, Ordering::SeqCst);
    }

    pub(crate) fn add_sent(&self, bytes: usize) {
        // Without the cost of an atomic addition.
        let sum = self.sent.load(Ordering::Relaxed) + bytes as u64;
        self.sent.store(sum, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        (load(&self.received), load(&self.sent))
    }

    pub(crate) fn detach(&self) {
        let _ = self.at_detach.set(self.totals());
    }

    pub(crate) fn of_server(&self) -> (u64, u64) {
        self.at_detach
            .get()
            .copied()
            .unwrap_or_else(|| self.totals())
    }
}
