//! The command line.

use std::mem;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use lexopt::prelude::*;

use crate::load::{Kind, LOADS, Load};
use crate::program::{PROGRAMS, Program};

const HELP: &str = "\
Compares the echo servers of socketserver with others, on loopback

Usage: cargo run --release --manifest-path benches/Cargo.toml -- [OPTIONS]

  --rounds <N>       How often each measurement is repeated, the flood at most 3 times; the figures
                     are medians [default: 3]
  --seconds <S>      How long each measurement takes, without its warm-up [default: 0.2]
  --full             The rounds of the committed figures: --rounds 5 --seconds 0.9
  --loads <NAME,…>   ping-pong, connect, bulk, idle, datagrams, scale, flood
                     [default: all, scale only with --full]
  --servers <NAME,…> threads, green, std-threads, std-pool, tokio, actix, monoio, go, poco, python;
                     for datagrams udp, udp-threads, udp-green, udp-std, udp-batch, udp-tokio
                     [default: all]
  --output <FOLDER>  Where the table and the plots are written [default: benches/target/figures]
  -h, --help         Print this help
";

pub struct Options {
    pub rounds: usize,
    /// Of each measurement.
    pub duration: Duration,
    pub loads: Vec<Load>,
    pub has_flood: bool,
    pub programs: Vec<&'static Program>,
    pub output: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 3,
            duration: Duration::from_millis(200),
            loads: LOADS.to_vec(),
            has_flood: true,
            programs: PROGRAMS.iter().collect(),
            output: concat!(env!("CARGO_MANIFEST_DIR"), "/target/figures").into(),
        }
    }
}

impl Options {
    pub fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let (mut is_full, mut loads) = (false, None);
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    process::exit(0);
                }
                Long("rounds") => options.rounds = arguments.value()?.parse_with(rounds)?,
                Long("seconds") => options.duration = arguments.value()?.parse_with(seconds)?,
                Long("full") => {
                    (options.rounds, options.duration) = (5, Duration::from_millis(900));
                    is_full = true;
                }
                Long("loads") => loads = Some(arguments.value()?.string()?),
                Long("servers") => options.set_servers(&arguments.value()?.string()?)?,
                Long("output") => options.output = arguments.value()?.into(),
                _ => return Err(argument.unexpected()),
            }
        }
        match loads {
            Some(names) => options.set_loads(&names)?,
            None if is_full => {}
            None => options.loads.retain(|load| load.kind != Kind::Scale),
        }
        let loads = &options.loads;
        let has_load = |program: &&Program| loads.iter().any(|load| load.is_for(program));
        options.programs.retain(has_load);
        if options.programs.is_empty() && !options.has_flood {
            return Err("none of the servers can be measured under these loads".into());
        }
        Ok(options)
    }

    /// Leaves out the loads that need more descriptors, and returns them.
    pub fn limit_descriptors(&mut self, limit: u64) -> Vec<Load> {
        let loads = mem::take(&mut self.loads).into_iter();
        let (loads, left_out) = loads.partition(|load| load.descriptors() <= limit);
        self.loads = loads;
        left_out
    }

    fn set_loads(&mut self, names: &str) -> Result<(), String> {
        let names: Vec<_> = names.split(',').collect();
        let is_load = |name: &str| LOADS.iter().any(|load| load.kind.name() == name);
        if let Some(name) = names
            .iter()
            .find(|name| !is_load(name) && **name != "flood")
        {
            return Err(format!("{name:?} is not a load"));
        }
        self.loads.retain(|load| names.contains(&load.kind.name()));
        self.has_flood = names.contains(&"flood");
        Ok(())
    }

    fn set_servers(&mut self, names: &str) -> Result<(), String> {
        let program = |name: &str| {
            let program = PROGRAMS.iter().find(|program| program.name == name);
            program.ok_or_else(|| format!("{name:?} is not a server"))
        };
        self.programs = names.split(',').map(program).collect::<Result<_, _>>()?;
        Ok(())
    }
}

fn rounds(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is not a whole number above 0"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = time.filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("{text:?} is not a number of seconds above 0"))
}
