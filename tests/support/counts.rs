//! The counts in a server's statistics.

use socketserver::{ServerHandle, Statistics};

use crate::eventually;

/// The sum that `accepted` must be equal to.
pub fn sum(s: &Statistics) -> u64 {
    let ended = s.finished + s.failed + s.panicked + s.timed_out + s.disconnected;
    (s.active + s.queued) as u64 + s.rejected.total() + ended
}

/// Waits until this many requests have ended and returns the statistics. A client sees the end of
/// its connection before the server counts it.
pub fn settled(server: &ServerHandle, accepted: u64) -> Statistics {
    let have_ended = |s: &Statistics| s.accepted == accepted && s.active == 0 && s.queued == 0;
    eventually("all requests have ended", || {
        have_ended(&server.statistics())
    });
    let statistics = server.statistics();
    assert_eq!(sum(&statistics), accepted, "{statistics:?}");
    statistics
}

/// Finished, failed, panicked, timed out, disconnected.
pub fn outcomes(s: &Statistics) -> [u64; 5] {
    [
        s.finished,
        s.failed,
        s.panicked,
        s.timed_out,
        s.disconnected,
    ]
}

/// Refused, overload, queue timeout, per IP, shutdown, dispatch.
pub fn reasons(s: &Statistics) -> [u64; 6] {
    let rejected = &s.rejected;
    [
        rejected.refused,
        rejected.overload,
        rejected.queue_timeout,
        rejected.per_ip,
        rejected.shutdown,
        rejected.dispatch,
    ]
}
