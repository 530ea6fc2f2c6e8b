//! A server's statistics, as a table and as a line.

use std::fmt::{self, Display};
use std::time::Instant;

use socketserver::dispatch::TaskInfo;
use socketserver::{ServerHandle, Statistics};

/// How many tasks are shown.
const MAX_TASKS: usize = 10;

/// Takes a server's statistics at intervals.
pub struct Watch {
    server: ServerHandle,
    before: Statistics,
    since: Instant,
}

impl Watch {
    pub fn new(server: &ServerHandle) -> Self {
        Watch {
            server: server.clone(),
            before: server.statistics(),
            since: Instant::now(),
        }
    }

    /// The statistics now, and the changes since the last call.
    pub fn sample(&mut self) -> Status {
        let now = self.server.statistics();
        let status = Status {
            now,
            before: self.before,
            seconds: self.since.elapsed().as_secs_f64(),
            tasks: self.server.tasks(),
        };
        (self.before, self.since) = (now, Instant::now());
        status
    }
}

/// Two samples of a server's statistics, and the time between them. Displayed as a table.
pub struct Status {
    now: Statistics,
    before: Statistics,
    seconds: f64,
    /// Of a green server, the oldest first.
    tasks: Vec<TaskInfo>,
}

type Count = fn(&Statistics) -> u64;

const TOTALS: [(&str, Count); 15] = [
    ("accepted", |s| s.accepted),
    ("finished", |s| s.finished),
    ("failed", |s| s.failed),
    ("panicked", |s| s.panicked),
    ("timed out", |s| s.timed_out),
    ("disconnected", |s| s.disconnected),
    ("rejected: overload", |s| s.rejected.overload),
    ("  queue timeout", |s| s.rejected.queue_timeout),
    ("  per IP", |s| s.rejected.per_ip),
    ("  refused", |s| s.rejected.refused),
    ("  shutting down", |s| s.rejected.shutdown),
    ("  not dispatched", |s| s.rejected.dispatch),
    ("blocked workers", |s| s.blocked_workers),
    ("bytes in", |s| s.bytes_in),
    ("bytes out", |s| s.bytes_out),
];

impl Status {
    /// The increase per second.
    fn rate(&self, what: impl Fn(&Statistics) -> u64) -> f64 {
        (what(&self.now) - what(&self.before)) as f64 / self.seconds
    }

    /// The same in one line.
    pub fn line(&self) -> String {
        let now = &self.now;
        format!(
            "active {} (peak {}), queued {}, threads {}, accepted {} ({:.0}/s), rejected {} ({:.0}/s), \
             in {:.0} bytes/s, out {:.0} bytes/s",
            now.active,
            now.peak_active,
            now.queued,
            now.threads,
            now.accepted,
            self.rate(|s| s.accepted),
            now.rejected.total(),
            self.rate(|s| s.rejected.total()),
            self.rate(|s| s.bytes_in),
            self.rate(|s| s.bytes_out),
        )
    }
}

impl Status {
    fn fmt_tasks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tasks.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<24}{:>16}{:>14}",
            "oldest requests", "task", "seconds"
        )?;
        for task in self.tasks.iter().take(MAX_TASKS) {
            let name = format!("{} {}", task.id, task.client_address);
            let (state, age) = (task.state, task.age.as_secs_f64());
            writeln!(f, "{name:<24}{state:>16}{age:>14.1}")?;
        }
        Ok(())
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = &self.now;
        writeln!(f, "{:<24}{:>16}{:>14}", "", "now", "peak")?;
        for (name, count, peak) in [
            ("active", now.active, now.peak_active),
            ("queued", now.queued, now.peak_queued),
            ("threads", now.threads, now.peak_threads),
        ] {
            writeln!(f, "{name:<24}{count:>16}{peak:>14}")?;
        }
        writeln!(f, "\n{:<24}{:>16}{:>14}", "", "total", "per second")?;
        for (name, what) in TOTALS {
            let (total, rate) = (what(now), self.rate(what));
            writeln!(f, "{name:<24}{total:>16}{rate:>14.0}")?;
        }
        self.fmt_tasks(f)
    }
}
