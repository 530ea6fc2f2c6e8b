//! Measurements of the trials.

use std::time::Duration;

/// Delays of one client's requests.
#[derive(Default)]
pub struct Delays(Vec<Duration>);

impl Delays {
    pub fn add(&mut self, delay: Duration) {
        self.0.push(delay);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The delay that this share of the requests does not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }

    pub fn describe(&self) -> String {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| self.quantile(share));
        let count = self.count();
        format!("{count} requests, p50 {p50:.1?}, p99 {p99:.1?}, slowest {most:.1?}")
    }
}

/// The median, or 0 for an empty list.
pub fn median(values: impl IntoIterator<Item = u64>) -> u64 {
    let mut sorted: Vec<_> = values.into_iter().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Whether two numbers agree within `percent`, or differ by at most `slack`.
pub fn agree(one: u64, other: u64, percent: u64, slack: u64) -> bool {
    one.abs_diff(other) <= slack.max(one.max(other) * percent / 100)
}

pub fn mebibytes(kibibytes: u64) -> String {
    format!("{:.1} MiB", kibibytes as f64 / 1024.0)
}
