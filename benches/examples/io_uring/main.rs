//! Compares an echo server on epoll with the same server on io_uring: what would a driver for
//! io_uring gain? An echo is its best case, because the server does nothing but system calls.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --example io_uring
//! ```
//!
//! The options are `-- --rounds 7 --seconds 0.5`, here with their defaults.
//!
//! The drivers run no coroutines, and their worker threads share nothing:
//!
//! - `epoll`: edge-triggered; `recv` until it returns less than fits, and `send`.
//! - `io_uring`: single issuer, deferred task work, a ring of provided buffers; a receive for each
//!   message; sends through the ring.
//! - `io_uring, multishot`: the same with one receive for each connection and registered files.
//!
//! Each server is a process of its own, so that its processor time does not include the client's.
//! Each round measures all servers in random order. A ratio compares a server with `epoll` of the same
//! round and as many workers, so that other load on the machine affects both; above 1, the server is
//! better than `epoll`. The output is a Markdown table with the medians of all rounds.
//!
//! Needs Linux 6.1 or later.

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, thread};

use crate::client::{Load, Sample};
use crate::server::Inbox;

mod client;
mod epoll;
mod server;
mod uring;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const MESSAGE: [u8; 64] = [b'x'; 64];

/// Runs in each worker thread.
type Work = fn(Inbox) -> Result<()>;

/// The ratios compare with the first.
const DRIVERS: [(&str, Work); 3] = [
    ("epoll", epoll::work),
    ("io_uring", uring::work),
    ("io_uring, multishot", uring::work_multishot),
];

#[rustfmt::skip]
const LOADS: [Load; 4] = [
    Load { name: "ping-pong", connections: 16, reconnect: false },
    Load { name: "ping-pong", connections: 256, reconnect: false },
    Load { name: "ping-pong", connections: 1000, reconnect: false },
    Load { name: "connect, echo, close", connections: 16, reconnect: true },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [mode, driver, workers] if mode == "--serve" => server::serve(driver, workers),
        options => run(options),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(options: &[String]) -> Result<()> {
    let (mut rounds, mut seconds) = (7, 0.5);
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "--rounds" => rounds = value.parse::<usize>()?.max(1),
            [name, value] if name == "--seconds" => seconds = value.parse()?,
            _ => return Err("usage: io_uring [--rounds N] [--seconds S]".into()),
        }
    }
    let duration = Duration::try_from_secs_f64(seconds)?;
    uring::new_ring().map_err(|error| format!("io_uring is not available: {error}"))?;
    println!(
        "Linux {}, {} processors, {rounds} rounds of {seconds} s\n",
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end(),
        thread::available_parallelism()?,
    );
    println!(
        "| load | connections | server | workers | messages/s | ratio | messages/CPU s | ratio | p99 (µs) |"
    );
    println!("|---|---:|---|---:|---:|---:|---:|---:|---:|");
    LOADS
        .iter()
        .try_for_each(|load| compare(load, rounds, duration))
}

/// Prints a row of the table for each server.
fn compare(load: &Load, rounds: usize, duration: Duration) -> Result<()> {
    let servers = [1, 2].map(|workers| DRIVERS.map(|(driver, _)| (driver, workers)));
    let servers = servers.as_flattened();
    let mut samples: Vec<Vec<Sample>> = servers.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        eprintln!("{}, {}: round {round}", load.name, load.connections);
        for i in shuffled(servers.len()) {
            let (driver, workers) = servers[i];
            samples[i].push(load.measure(driver, workers, duration)?);
        }
    }
    for (i, (driver, workers)) in servers.iter().enumerate() {
        let epoll = &samples[i - i % DRIVERS.len()];
        let value = |of: fn(&Sample) -> f64| median(samples[i].iter().map(of));
        let ratio = |of: fn(&Sample) -> f64| {
            let rounds = samples[i].iter().zip(epoll);
            median(rounds.map(|(this, epoll)| of(this) / of(epoll)))
        };
        println!(
            "| {} | {} | {driver} | {workers} | {:.0} | {:.2} | {:.0} | {:.2} | {:.0} |",
            load.name,
            load.connections,
            value(|sample| sample.rate),
            ratio(|sample| sample.rate),
            value(|sample| sample.per_cpu),
            ratio(|sample| sample.per_cpu),
            value(|sample| sample.p99),
        );
    }
    Ok(())
}

fn shuffled(len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    // Each `RandomState` has new keys.
    order.sort_by_cached_key(|_| RandomState::new().build_hasher().finish());
    order
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
