//! Prints the log records that Python programs send with `logging.handlers.SocketHandler`.
//!
//! ```text
//! cargo run --release -p log_receiver
//! python3 -c "import logging.handlers as h; \
//!     h.logging.root.addHandler(h.SocketHandler('127.0.0.1', 9020)); \
//!     h.logging.warning('the %s is %d °C warm', 'soup', 71)"
//! ```
//!
//! Each record is a length of 4 bytes and a pickle of at most 1 MiB. Unpickling in Python can run any
//! code; here nothing is run, and no record takes more than about 10 MiB of memory, whatever it says: what
//! is longer than 1 MiB when printed is cut off. Characters that a terminal does not print are escaped.
//!
//! A record must arrive within 30 s, each part of it. `--help` lists the other limits. Python's handler
//! notices a closed connection only after the next record, which is lost: so the idle timeout is long.

mod percent;
mod pickle;
mod record;
mod repr;
mod text;
mod value;

use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;

use self::record::Record;

const EXAMPLE: &str = "\
A client:

  import logging, logging.handlers
  logging.root.addHandler(logging.handlers.SocketHandler('127.0.0.1', 9020))
  logging.warning('hello')";

/// A length of 4 bytes, and records of up to 1 MiB.
const RECORDS: Framing = Framing::new(Prefix::U32).max_len(1 << 20);

/// Prints the log records of Python programs
#[derive(Parser)]
#[command(after_help = EXAMPLE)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9020")]
    address: String,
    /// The most connections at once; others wait in the system's queue
    #[arg(long, value_name = "N", default_value = "256")]
    max_connections: NonZeroUsize,
    /// The most connections of one IPv4 address or IPv6 /64 network at once; more are closed
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    per_ip: Option<NonZeroUsize>,
    /// How long a connection may be idle between two records
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = clap::value_parser!(u64).range(1..))]
    idle_timeout: u64,
}

/// How long each read inside a record may wait.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

fn receive(request: &mut StreamRequest) -> HandlerResult {
    let mut data = Vec::new();
    while request.wait_for_data()? && RECORDS.read_into(&mut request.rfile, &mut data)? {
        match pickle::load(&data) {
            Ok(record) => print(&record)?,
            Err(error) => log::warn!("a record from {}: {error}", request.client_address),
        }
    }
    Ok(())
}

fn print(record: &Record<'_>) -> io::Result<()> {
    let printed = writeln!(io::stdout(), "{}", record.line());
    printed.map_err(|e| io::Error::other(format!("cannot print: {e}")))
}

fn serve(options: Options) -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .idle_timeout(Duration::from_secs(options.idle_timeout))
        .read_timeout(READ_TIMEOUT)
        .bind_fn(options.address, receive)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("log_receiver: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
