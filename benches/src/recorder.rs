//! Records the answers of a measurement.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::figure::{Figure, Sample};
use crate::server::Server;

/// The part of the time that comes before what is recorded.
const WARM_UP: f64 = 0.2;

pub struct Recorder<'a> {
    server: &'a Server,
    /// When the warm-up ends.
    begin: Instant,
    end: Instant,
    /// The server's processor time at the end of the warm-up.
    cpu_before: Option<Duration>,
    /// How long each answer took, in nanoseconds.
    times: Vec<u32>,
    failed: u64,
}

impl<'a> Recorder<'a> {
    pub fn start(server: &'a Server, duration: Duration) -> Self {
        let begin = Instant::now() + duration.mul_f64(WARM_UP);
        Self {
            server,
            begin,
            end: begin + duration,
            cpu_before: None,
            times: Vec::with_capacity(1 << 20),
            failed: 0,
        }
    }

    /// Returns whether the measurement goes on. To be called often.
    pub fn goes_on(&mut self) -> Result<bool> {
        let now = Instant::now();
        if now >= self.begin && self.cpu_before.is_none() {
            self.cpu_before = Some(self.server.cpu_time()?);
            self.begin = now;
        }
        Ok(now < self.end)
    }

    /// Records an answer that has just arrived, and returns the time.
    pub fn answered(&mut self, asked: Instant) -> Instant {
        let now = Instant::now();
        if self.cpu_before.is_some() {
            let time = (now - asked).as_nanos();
            self.times.push(u32::try_from(time).unwrap_or(u32::MAX));
        }
        now
    }

    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// The figures. `rate` is the name of what the answers are.
    pub fn finish(mut self, rate: Figure) -> Result<Sample> {
        let elapsed = self.begin.elapsed();
        let cpu = self.server.cpu_time()? - self.cpu_before.unwrap_or_default();
        let count = self.times.len();
        ensure!(
            count > 0,
            "the server answered nothing, {} failed",
            self.failed
        );
        self.times.sort_unstable();
        let percentile =
            |part: f64| f64::from(self.times[((count - 1) as f64 * part) as usize]) / 1e3;
        Ok(Sample::from([
            (rate, count as f64 / elapsed.as_secs_f64()),
            (Figure::PerCpuSecond, per_cpu(count as f64, cpu)),
            (Figure::P50, percentile(0.5)),
            (Figure::P90, percentile(0.9)),
            (Figure::P99, percentile(0.99)),
            (Figure::P999, percentile(0.999)),
            (Figure::Failed, self.failed as f64),
        ]))
    }
}

/// The system counts processor time in hundredths of a second.
pub fn per_cpu(count: f64, cpu: Duration) -> f64 {
    count / cpu.as_secs_f64().max(0.01)
}
