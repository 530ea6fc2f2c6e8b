use std::fmt;
use std::time::Instant;

use parking_lot::Mutex;

/// Keeps a log from filling the disk: lets a burst of lines through, then a few a second, and counts
/// what it holds back.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<State>);

#[derive(Default)]
struct State {
    /// Lines let through and not yet made up for by time.
    lines: f64,
    last: Option<Instant>,
    held_back: u64,
}

/// How many lines were held back before the one that is let through; says so at its end.
pub(crate) struct HeldBack(u64);

impl Throttle {
    const BURST: f64 = 100.0;
    const PER_SECOND: f64 = 10.0;

    /// Whether a line may be written.
    pub(crate) fn admit(&self) -> Option<HeldBack> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let passed = state.last.replace(now).map_or(0.0, |last| {
            now.saturating_duration_since(last).as_secs_f64()
        });
        state.lines = (state.lines - passed * Self::PER_SECOND).max(0.0);
        if state.lines > Self::BURST - 1.0 {
            state.held_back += 1;
            return None;
        }
        state.lines += 1.0;
        Some(HeldBack(std::mem::take(&mut state.held_back)))
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} other lines about requests were held back)"),
        }
    }
}
