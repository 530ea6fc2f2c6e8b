use std::fmt;
use std::time::Instant;

use parking_lot::Mutex;

/// Limits the rate of log lines that clients can cause: a burst, then a few per second. Counts the
/// suppressed lines.
#[derive(Default)]
pub(crate) struct RateLimit(Mutex<Bucket>);

#[derive(Default)]
struct Bucket {
    /// The number of written lines, minus the lines that the elapsed time allows.
    level: f64,
    last: Option<Instant>,
    suppressed: u64,
}

/// The number of lines that were suppressed before the allowed line. It is printed at the end of that
/// line.
pub(crate) struct Suppressed(u64);

impl RateLimit {
    const BURST: f64 = 100.0;
    const PER_SECOND: f64 = 10.0;

    /// Whether a line may be written now.
    pub(crate) fn allow(&self) -> Option<Suppressed> {
        let now = Instant::now();
        let mut bucket = self.0.lock();
        let passed = bucket.last.replace(now).map_or(0.0, |last| {
            now.saturating_duration_since(last).as_secs_f64()
        });
        bucket.level = (bucket.level - passed * Self::PER_SECOND).max(0.0);
        if bucket.level > Self::BURST - 1.0 {
            bucket.suppressed += 1;
            return None;
        }
        bucket.level += 1.0;
        Some(Suppressed(std::mem::take(&mut bucket.suppressed)))
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} other lines about requests were suppressed)"),
        }
    }
}
