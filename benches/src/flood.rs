//! What a server with limits does when many clients connect at once, under each overload policy.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::flood_clients::Outcome;
use crate::process::Process;
use crate::server::Server;

pub const CLIENTS: usize = 20_000;
/// The others may come much later.
pub const MOST: usize = CLIENTS * 95 / 100;
/// Each has an address and a descriptor limit of its own.
const PROCESSES: usize = 2;

/// The limits of the example `overload_server`, in words.
pub const LIMITS: &str =
    "At most 1,000 are served at a time, 250 ms each; the queue holds 8,000 for 500 ms.";
/// What each process needs at most.
pub const DESCRIPTORS: u64 = 12_000;
/// How long a flood for each policy takes in all, about.
const ESTIMATE: Duration = Duration::from_secs(25);

const POLICIES: [&str; 3] = ["wait", "queue", "reject"];

/// Several floods for each policy.
pub struct Floods {
    /// The program `overload_server`.
    server: PathBuf,
    count: usize,
}

impl Floods {
    /// At most three for each policy.
    pub fn new(server: PathBuf, count: usize) -> Self {
        let count = count.min(3);
        Self { server, count }
    }

    /// How long all floods take, about.
    pub fn estimate(&self) -> Duration {
        ESTIMATE * self.count as u32
    }

    /// Returns for each policy the flood in the middle by its duration. Chance decides how often the
    /// system drops the packets of a client.
    pub fn run(&self, logs: &Path) -> Result<Vec<Flood>> {
        let bar = ProgressBar::new((self.count * POLICIES.len()) as u64);
        bar.set_style(ProgressStyle::with_template("{bar:30} flood: {msg}")?);
        let mut floods = POLICIES.map(|_| Vec::new());
        for _ in 0..self.count {
            for (policy, floods) in POLICIES.into_iter().zip(&mut floods) {
                bar.set_message(policy);
                floods.push(Flood::run(policy, &self.server, logs)?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(floods.map(middle).into())
    }
}

/// What became of the clients.
pub struct Flood {
    pub policy: &'static str,
    /// In the order of time, which counts from the start of all clients.
    outcomes: Vec<(Duration, Outcome)>,
}

impl Flood {
    /// Starts the server, and clients in processes of their own.
    fn run(policy: &'static str, server: &Path, logs: &Path) -> Result<Self> {
        let mut command = Command::new(server);
        let server = Server::start(command.arg(policy), &logs.join("overload_server.log"))?;
        let clients = (0..PROCESSES).map(|i| start_clients(i, &server, logs));
        let mut clients = clients.collect::<Result<Vec<_>>>()?;
        for process in &mut clients {
            process.read_line().context("the clients did not start")?;
        }
        for process in &mut clients {
            process.write_line()?;
        }
        let mut outcomes = Vec::with_capacity(CLIENTS);
        for process in &mut clients {
            read_outcomes(process, &mut outcomes)?;
        }
        outcomes.sort_by_key(|(time, _)| *time);
        Ok(Self { policy, outcomes })
    }

    /// How many clients have had this outcome until then.
    pub fn count(&self, outcome: Outcome, until: Duration) -> usize {
        let past = self.outcomes.iter().take_while(|(time, _)| *time <= until);
        past.filter(|(_, other)| *other == outcome).count()
    }

    pub fn total(&self, outcome: Outcome) -> usize {
        self.count(outcome, Duration::MAX)
    }

    /// How long half of the clients with this outcome had waited for it at most.
    pub fn median(&self, outcome: Outcome) -> Option<Duration> {
        let times = self.outcomes.iter().filter(|(_, other)| *other == outcome);
        let times: Vec<_> = times.map(|(time, _)| *time).collect();
        times.get(times.len() / 2).copied()
    }

    /// When so many clients had an outcome.
    pub fn time_of(&self, clients: usize) -> Duration {
        let mut outcomes = self.outcomes.iter().take(clients);
        outcomes
            .next_back()
            .map_or(Duration::ZERO, |(time, _)| *time)
    }
}

fn middle(mut floods: Vec<Flood>) -> Flood {
    floods.sort_by_key(|flood| flood.time_of(MOST));
    let middle = (floods.len() - 1) / 2;
    floods.swap_remove(middle)
}

fn start_clients(number: usize, server: &Server, logs: &Path) -> Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("--flood-clients")
        .arg(server.address().to_string())
        .arg(format!("127.0.0.{}", number + 2))
        .arg((CLIENTS / PROCESSES).to_string());
    Process::start(
        &mut command,
        &logs.join(format!("flood_clients_{number}.log")),
    )
}

fn read_outcomes(process: &mut Process, outcomes: &mut Vec<(Duration, Outcome)>) -> Result<()> {
    loop {
        let line = process.read_line()?;
        let Some((outcome, micros)) = line.split_once(' ') else {
            return Ok(());
        };
        outcomes.push((Duration::from_micros(micros.parse()?), outcome.parse()?));
    }
}
