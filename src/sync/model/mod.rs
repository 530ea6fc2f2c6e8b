//! The real code under [shuttle](shuttle), which decides at each lock, wait, send and atomic who
//! goes on. A thread that nobody wakes is a deadlock, and fails the test with the schedule to replay.
//!
//! A time-out comes whenever it is least welcome, or not at all: see [`time_is_over`]. What nobody
//! here shares stays real and is never held at a scheduling point: the log's throttle, Ctrl-C. The
//! timer's thread is real too, so no alarm may be set: servers have `shutdown_timeout(None)`.

pub(crate) mod channel;
mod lock;
mod poller;
mod schedules;
mod tally;

use std::time::Duration;

use shuttle::rand::Rng;

pub(crate) use self::lock::{Condvar, Mutex, MutexGuard};
pub(crate) use self::poller::Poller;
pub(crate) use self::schedules::explore;
pub(crate) use self::tally::Tally;

/// From here on a time is too long to come.
const NEVER: Duration = Duration::from_secs(60 * 60);

/// Whether somebody who finds nothing to do has waited for so long already. The scheduler may keep
/// it from looking for any time, so that this covers every moment.
fn time_is_over(time: Duration) -> bool {
    time < NEVER && shuttle::rand::thread_rng().gen_bool(0.5)
}
