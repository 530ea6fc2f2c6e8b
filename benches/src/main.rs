//! Compares the echo servers of socketserver with others, on loopback: a table, and plots.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml
//! ```
//!
//! `README.md` in this folder says what the figures mean. `-- --help` lists the options.

mod builder;
mod cargo;
mod figure;
mod flood;
mod flood_clients;
mod load;
mod machine;
mod options;
mod plot;
mod poller;
mod process;
mod program;
mod recorder;
mod report;
mod results;
mod rounds;
mod server;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::builder::Builder;
use crate::flood::Floods;
use crate::machine::Machine;
use crate::options::Options;
use crate::report::Report;
use crate::rounds::Rounds;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = raise_descriptor_limit().and_then(|limit| match &arguments[..] {
        [mode, server, source, count] if mode == "--flood-clients" => {
            flood_clients::run(server, source, count)
        }
        _ => compare(limit),
    });
    if let Err(error) = result {
        eprintln!("benches: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn compare(descriptors: u64) -> Result<()> {
    let mut options = Options::parse().map_err(|error| anyhow!("{error} (see --help)"))?;
    process::end_at_ctrlc()?;
    let machine = Machine::read();
    println!("{machine}\n");

    let work = work_folder()?;
    let mut builder = Builder::new(&work);
    eprintln!("building the servers, about two minutes the first time");
    let (servers, mut left_out) = builder.build(&options.programs)?;
    let has_flood = options.has_flood && descriptors >= flood::DESCRIPTORS;
    if has_flood != options.has_flood {
        left_out.push(format!("flood: `ulimit -Hn` is {descriptors}"));
    }
    let floods = match has_flood {
        true => Some(Floods::new(
            builder.example("overload_server")?,
            options.rounds,
        )),
        false => None,
    };
    for load in options.limit_descriptors(descriptors) {
        left_out.push(format!("{load}: `ulimit -Hn` is {descriptors}"));
    }
    let mut rounds = Rounds::new(&options, servers, &work);
    left_out.extend(rounds.leave_out_broken()?);
    let estimate = rounds.estimate() + floods.iter().map(Floods::estimate).sum();
    ensure!(
        !estimate.is_zero(),
        "nothing is left to measure: {}",
        left_out.join("; ")
    );
    eprintln!("measuring takes about {} s", estimate.as_secs());
    rounds.run()?;
    let floods = floods.map(|floods| floods.run(&work)).transpose()?;
    let report = Report {
        options: &options,
        machine: &machine,
        results: &rounds.results,
        floods: &floods.unwrap_or_default(),
        left_out: &left_out,
        failures: &rounds.failures,
    };
    report.write()
}

/// For what is built besides cargo, and for logs: beside this program, in the target folder.
fn work_folder() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new(".")).join("servers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Each connection of a load takes a descriptor. Returns how many there can be.
fn raise_descriptor_limit() -> Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
