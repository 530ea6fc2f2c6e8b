//! Measures all servers in turn, several times.

use std::mem;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{Kind, Load};
use crate::options::Options;
use crate::program::Built;
use crate::results::Results;
use crate::server::Server;

/// How long it takes to start a server and to connect, about.
const START: Duration = Duration::from_millis(100);
/// The same for an idle load, with its wait.
const IDLE: Duration = Duration::from_millis(400);
/// How long each idle connection of a scale load takes, about.
const CONNECTION: Duration = Duration::from_micros(150);

pub struct Rounds<'a> {
    options: &'a Options,
    servers: Vec<Built>,
    /// For what the servers write to standard error.
    logs: &'a Path,
    pub results: Results,
    /// The measurements that failed.
    pub failures: Vec<String>,
}

impl<'a> Rounds<'a> {
    pub fn new(options: &'a Options, servers: Vec<Built>, logs: &'a Path) -> Self {
        Self {
            options,
            servers,
            logs,
            results: Results::default(),
            failures: Vec::new(),
        }
    }

    /// Leaves out the servers that do not start, and returns them with the reason. For example,
    /// io_uring can be forbidden. An error if it is one of ours.
    pub fn leave_out_broken(&mut self) -> Result<Vec<String>> {
        let mut left_out = Vec::new();
        for server in mem::take(&mut self.servers) {
            let program = server.program;
            match start(&server, self.logs) {
                Ok(_) => self.servers.push(server),
                Err(error) if program.is_ours() => return Err(error.context(program.label)),
                Err(error) => left_out.push(format!("{}: {error:#}", program.label)),
            }
        }
        Ok(left_out)
    }

    /// How long all rounds take, about.
    pub fn estimate(&self) -> Duration {
        let pairs =
            (self.options.loads.iter()).flat_map(|load| self.servers_of(*load).map(move |_| load));
        let round: Duration = pairs.map(|load| self.duration(*load)).sum();
        round * self.options.rounds as u32
    }

    /// A measurement that fails is noted, and the others go on.
    pub fn run(&mut self) -> Result<()> {
        let bar = ProgressBar::new(self.estimate().as_millis() as u64);
        let style = "{bar:30} {percent} %, {eta} left: {msg}";
        bar.set_style(ProgressStyle::with_template(style)?);
        for round in 0..self.options.rounds {
            for load in &self.options.loads {
                let mut servers: Vec<_> = self.servers_of(*load).cloned().collect();
                // No server always comes first.
                let first = round % servers.len().max(1);
                servers.rotate_left(first);
                for server in servers {
                    bar.set_message(format!("{load}: {}", server.program.label));
                    self.measure(*load, &server);
                    bar.inc(self.duration(*load).as_millis() as u64);
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn measure(&mut self, load: Load, server: &Built) {
        let sample = start(server, self.logs)
            .and_then(|server| load.measure(&server, self.options.duration));
        match sample {
            Ok(sample) => self.results.add(load, server.program, sample),
            Err(error) => {
                let label = server.program.label;
                self.failures.push(format!("{label}, {load}: {error:#}"));
            }
        }
    }

    fn servers_of(&self, load: Load) -> impl Iterator<Item = &Built> {
        let servers = self.servers.iter();
        servers.filter(move |server| load.is_for(server.program))
    }

    fn duration(&self, load: Load) -> Duration {
        match load.kind {
            Kind::Idle => IDLE,
            Kind::Scale => {
                IDLE + self.options.duration.mul_f64(2.4) + CONNECTION * load.clients as u32
            }
            _ => self.options.duration.mul_f64(1.2) + START,
        }
    }
}

fn start(server: &Built, logs: &Path) -> Result<Server> {
    let log = logs.join(format!("{}.log", server.program.name));
    Server::start(&mut server.command(), &log)
}
