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
mod results;
mod rounds;
mod server;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::builder::Builder;
use crate::flood::Flood;
use crate::machine::Machine;
use crate::options::Options;
use crate::rounds::Rounds;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = raise_descriptor_limit().and_then(|()| match &arguments[..] {
        [mode, server, source, count] if mode == "--flood-clients" => {
            flood_clients::run(server, source, count)
        }
        _ => compare(),
    });
    if let Err(error) = result {
        eprintln!("benches: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn compare() -> Result<()> {
    let options = Options::parse().map_err(|error| anyhow!("{error} (see --help)"))?;
    process::end_at_ctrlc()?;
    let machine = Machine::read();
    println!("{machine}\n");

    let work = work_folder()?;
    let mut builder = Builder::new(&work);
    let (servers, missing) = builder.build(&options.programs)?;
    let overload_server = match options.has_flood {
        true => Some(builder.example("overload_server")?),
        false => None,
    };
    let mut rounds = Rounds::new(&options, servers, &work);
    rounds.failures.splice(0..0, missing);
    let estimate = rounds.estimate() + overload_server.iter().map(|_| flood::ESTIMATE).sum();
    eprintln!("measuring takes about {} s", estimate.as_secs());
    rounds.run()?;
    let floods = match &overload_server {
        Some(server) => flood::run_all(server, &work)?,
        None => Vec::new(),
    };
    write(&options, &machine, &rounds, &floods)
}

fn write(options: &Options, machine: &Machine, rounds: &Rounds, floods: &[Flood]) -> Result<()> {
    let Rounds {
        results, failures, ..
    } = rounds;
    let tables = table::loads(results, &options.loads) + &table::floods(floods);
    print!("{tables}");
    for failure in failures {
        println!("left out: {failure}");
    }
    let folder = &options.output;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let head = format!(
        "# Figures\n\nMedians of {} rounds of {:?}; the limits of what they say are in the README of `benches`.\n\n```text\n{machine}\n```\n\n",
        options.rounds, options.duration
    );
    let path = folder.join("figures.md");
    fs::write(&path, head + tables.trim_end() + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    plot::write_all(folder, machine, results, floods)?;
    println!("\nwritten to {}", folder.display());
    Ok(())
}

/// For what is built besides cargo, and for logs: beside this program, in the target folder.
fn work_folder() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new(".")).join("servers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Each connection of a load takes a descriptor.
fn raise_descriptor_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
