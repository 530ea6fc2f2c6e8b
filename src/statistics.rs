use std::fmt;

use crate::limits::RejectReason;

/// What a server has done so far, and what it is doing: a snapshot from
/// [`ServerHandle::statistics`](crate::ServerHandle::statistics).
///
/// All counts of requests are of one moment, and add up: `accepted` is `active` + `queued` + all that
/// is [`rejected`](RejectedCounts::total) + `finished` + `failed` + `panicked` + `timed_out` +
/// `disconnected`. Bytes and threads are read beside them. A request is a connection, or a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Requests taken from the system.
    pub accepted: u64,
    /// Requests on their way through verify, setup, handle, finish and close.
    pub active: usize,
    /// Requests that wait for room, with [`OverloadPolicy::Queue`](crate::OverloadPolicy::Queue).
    pub queued: usize,
    /// Requests that were never handled.
    pub rejected: RejectedCounts,
    /// Requests whose handler ended without an error.
    pub finished: u64,
    /// Requests that ended with an error that is none of those below.
    pub failed: u64,
    /// Requests whose handler panicked, or whose process was killed by a signal.
    pub panicked: u64,
    /// Requests that ended with an error of the kind `TimedOut`: a read or write timeout, or the
    /// deadline. An idle timeout is no error, and counts as `finished`.
    pub timed_out: u64,
    /// Requests whose client went away, or whose connection a shutdown ended by force.
    pub disconnected: u64,
    /// Bytes read from clients. A detached connection counts up to then.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Threads that run requests, idle ones included; 0 without a pool.
    pub threads: usize,
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
    /// By [`verify_request`](crate::Hooks::verify_request): refused, failed or panicked.
    pub refused: u64,
    /// No room, with [`OverloadPolicy::Reject`](crate::OverloadPolicy::Reject).
    pub overload: u64,
    /// Waited for room in the queue for too long.
    pub queue_timeout: u64,
    /// Too many of one source at once.
    pub per_ip: u64,
    /// The server shut down while they were queued.
    pub shutdown: u64,
    /// They could not be handed to where requests run: no thread could be started, or a dispatcher
    /// dropped them.
    pub dispatch: u64,
}

impl RejectedCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.refused
            + self.overload
            + self.queue_timeout
            + self.per_ip
            + self.shutdown
            + self.dispatch
    }
}

/// How a request ended. The later it stands here, the more it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Finished,
    Disconnected,
    Failed,
    TimedOut,
    Panicked,
}

/// Why a request is not handled.
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

impl Statistics {
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
