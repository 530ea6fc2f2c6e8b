//! A small Redis: strings and lists in memory. Nothing is written to disk.
//!
//! ```text
//! cargo run --release -p kv_server
//! redis-cli -p 6380 set greeting hello
//! redis-cli -p 6380 get greeting
//! ```
//!
//! PING ECHO SET (EX, PX, NX, XX) GET MSET MGET INCR INCRBY DEL EXISTS EXPIRE TTL PTTL TYPE KEYS DBSIZE
//! LPUSH RPUSH LRANGE LLEN LPOP RPOP FLUSHALL INFO COMMAND, and what clients send first (CONFIG GET,
//! CLIENT, HELLO, SELECT, QUIT), as RESP2, RESP3 or lines from `nc`. Error messages are those of Redis.
//! A command has at most 16 MiB, and its parts must arrive within 30 s of each other. A client that reads
//! nothing of its replies for 30 s is disconnected, and KEYS gives up after 30 s, or when its client has
//! closed the connection.
//!
//! `--max-memory` limits keys and values, and `--max-client-memory` what clients send and are to read,
//! like `maxmemory` and `maxmemory-clients` of Redis. With them and about 200 KiB for each client, the
//! memory in use has a limit. The C library of Linux may keep freed memory; with
//! `MALLOC_MMAP_THRESHOLD_=131072` in the environment it returns large pieces to the system.

mod admin;
mod client;
mod command;
mod hooks;
mod info;
mod inline;
mod instance;
mod integer;
mod keys;
mod lists;
mod memory;
mod output;
mod parser;
mod pattern;
mod reply;
mod session;
mod store;
mod strings;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socket2::{SockRef, TcpKeepalive};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

use self::hooks::InstanceHooks;
use self::instance::Instance;
use self::session::Session;

/// A small Redis: strings and lists in memory
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:6380")]
    address: String,
    /// The limit of memory for keys and values, in MiB; above it only reads and removals work
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = clap::value_parser!(u32).range(1..))]
    max_memory: u32,
    /// The limit of memory for commands and replies of all clients together, in MiB; a command that
    /// exceeds it gets an error, and of the clients that have neither sent nor read anything for 1 s, the one
    /// that uses most is disconnected. The first 16 KiB of each client are free
    #[arg(long, value_name = "MIB", default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
    max_client_memory: u32,
    /// The most clients at once; others read an error and are closed
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u16).range(1..=4000))]
    max_clients: u16,
    /// Serve many clients on each thread; it needs a build with `--features green`
    #[arg(long)]
    green: bool,
    /// How many threads serve with `--green`; Redis itself has one [default: the number of processors]
    #[arg(long, value_name = "N", requires = "green", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

fn bytes(mebibytes: u32) -> usize {
    usize::try_from(u64::from(mebibytes) << 20).unwrap_or(usize::MAX)
}

/// Sets socket options, which connections inherit from the listening socket.
fn set_options(listener: &Tcp) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // There is no idle timeout, so keepalive finds clients whose machine is gone.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(300)))?;
    // So the system takes a long reply in small steps, and a client that reads slowly is not stalled.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(128 << 10)?;
    Ok(())
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let instance = Arc::new(Instance::new(
        bytes(options.max_memory),
        bytes(options.max_client_memory),
        options.max_clients.into(),
    ));
    let server = builder
        .disable_nagle_algorithm(true)
        // The replies to a pipeline are sent together.
        .wbufsize(16_384)
        .rbufsize(16_384)
        // There is no limit between two commands, but inside of one.
        .idle_timeout(Duration::MAX)
        .read_timeout(Duration::from_secs(30))
        .write_timeout(Duration::from_secs(30))
        .poll_interval(Duration::from_millis(100))
        .hooks(InstanceHooks::new(&instance))
        .bind(options.address, move || Session::new(&instance))?;
    set_options(server.listener())?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    let served = match options.green {
        false => serve(ThreadingTcpServer::builder(), options),
        #[cfg(feature = "green")]
        true => match options.workers {
            Some(workers) => serve(GreenTcpServer::builder().workers(workers.into()), options),
            None => serve(GreenTcpServer::builder(), options),
        },
        #[cfg(not(feature = "green"))]
        true => Err(io::Error::other(
            "--green needs a build with `--features green`",
        )),
    };
    if let Err(error) = served {
        eprintln!("kv_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
