//! A server that is measured: its process, and what the system says about it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::param::clock_ticks_per_second;

use crate::process::Process;

pub struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Waits until the server listens. An error has the last line of the log.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let mut process = Process::start(command, log)?;
        let line = process.read_line().map_err(|_| {
            let log = fs::read_to_string(log).unwrap_or_default();
            anyhow!(
                "it did not start: {}",
                log.lines().last().unwrap_or("no reason given")
            )
        })?;
        let address = line.strip_prefix("listening on ");
        let address = address.and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("not an address: {line:?}"))?;
        Ok(Self { process, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time of all its threads so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.read("stat")?;
        // The name, in parentheses, can contain spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks = times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_secs_f64(
            ticks as f64 / clock_ticks_per_second() as f64,
        ))
    }

    /// The memory that it has in RAM, in KiB.
    pub fn memory(&self) -> Result<f64> {
        self.value("smaps_rollup", "Rss:")
    }

    pub fn threads(&self) -> Result<f64> {
        self.value("status", "Threads:")
    }

    fn value(&self, file: &str, name: &str) -> Result<f64> {
        let text = self.read(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        value.with_context(|| format!("{file} of the process has no {name:?}"))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.process.id());
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}
