//! Prints the log records that Python programs send with `logging.handlers.SocketHandler`.
//!
//! ```text
//! cargo run --release -p log_receiver
//! python3 -c "import logging.handlers as h; \
//!     h.logging.root.addHandler(h.SocketHandler('127.0.0.1', 9020)); \
//!     h.logging.warning('the %s is %d °C warm', 'soup', 71)"
//! ```
//!
//! Each record is a length of 4 bytes and a pickle. Unpickling in Python can run any code; here nothing is
//! run. A record of more than 1 MiB is skipped, and one of more than 16 MiB ends its connection, both with
//! a warning. Formatting adds at most 64 KiB to a record: what is longer is cut off. Characters that a
//! terminal does not print are escaped.
//!
//! An idle connection takes about 100 KiB: its thread, and a buffer of at most 64 KiB. While a record
//! arrives, the buffer has up to 1 MiB. One record at a time is unpickled and printed, which takes up to
//! 20 MiB; after many long records the system's allocator keeps about 10 MiB of that in each of its arenas
//! (with glibc eight per processor).
//!
//! A record must arrive within 30 s, each part of it. `--help` lists the other limits. Python's handler
//! notices a closed connection only after the next record, which is lost: so the idle timeout is long.

mod percent;
mod pickle;
mod record;
mod repr;
mod text;
mod value;

use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::framing::{Framing, FramingError, Prefix};
use socketserver::prelude::*;

const EXAMPLE: &str = "\
A client:

  import logging, logging.handlers
  logging.root.addHandler(logging.handlers.SocketHandler('127.0.0.1', 9020))
  logging.warning('hello')";

/// A length of 4 bytes, and records of up to 1 MiB.
const RECORDS: Framing = Framing::new(Prefix::U32).max_len(1 << 20);
/// The limit of a record that is skipped.
const LONGEST_SKIPPED: u64 = 16 << 20;
/// The limit of a buffer that is kept while a connection is idle.
const LONGEST_KEPT: usize = 1 << 16;
/// What formatting may add to a record, in bytes.
const MAX_ADDED: usize = 1 << 16;

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
    /// How long a new connection may take until its first record is complete
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..))]
    first_timeout: u64,
}

/// How long each read inside a record may wait.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

fn receive(request: &mut StreamRequest, first_timeout: Duration) -> HandlerResult {
    request.set_max_lifetime(first_timeout)?;
    match receive_records(request) {
        // The client's errors are no errors of this program.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::TimedOut) => {
            log::warn!("{} was disconnected: {e}", request.client_address);
            Ok(())
        }
        received => Ok(received?),
    }
}

fn receive_records(request: &mut StreamRequest) -> io::Result<()> {
    let mut data = Vec::new();
    while request.wait_for_data()? {
        let printed = match RECORDS.read_into(&mut request.rfile, &mut data) {
            Ok(false) => break,
            Ok(true) => print(&data)?,
            Err(FramingError::TooLong { len, .. }) if len <= LONGEST_SKIPPED => {
                // Only its length has been read.
                io::copy(&mut request.rfile.by_ref().take(len), &mut io::sink())?;
                Err(format!("{len} bytes are too long"))
            }
            Err(error) => return Err(error.into()),
        };
        request.set_max_lifetime(None)?;
        if let Err(error) = printed {
            log::warn!("a record from {}: {error}", request.client_address);
        }
        data.truncate(LONGEST_KEPT);
        data.shrink_to(LONGEST_KEPT);
    }
    Ok(())
}

/// Prints a record, or returns what is wrong with it. The lock is taken first: so the memory for this is
/// needed once, and not for each connection.
fn print(data: &[u8]) -> io::Result<Result<(), String>> {
    let mut out = io::stdout().lock();
    let record = match pickle::load(data) {
        Ok(record) => record,
        Err(error) => return Ok(Err(error)),
    };
    let printed = writeln!(out, "{}", record.line(data.len() + MAX_ADDED));
    printed
        .map(Ok)
        .map_err(|e| io::Error::other(format!("cannot print: {e}")))
}

fn serve(options: Options) -> io::Result<()> {
    let first_timeout = Duration::from_secs(options.first_timeout);
    let server = ThreadingTcpServer::builder()
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .idle_timeout(Duration::from_secs(options.idle_timeout))
        .read_timeout(READ_TIMEOUT)
        .bind_fn(options.address, move |request| {
            receive(request, first_timeout)
        })?;
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
