//! Prints the log records that Python programs send with `logging.handlers.SocketHandler`.
//!
//! ```text
//! cargo run --release -p log_receiver
//! python3 -c "import logging.handlers as h; \
//!     h.logging.root.addHandler(h.SocketHandler('127.0.0.1', 9020)); \
//!     h.logging.warning('the %s is %d °C warm', 'soup', 71)"
//! ```
//!
//! Each record is a length of 4 bytes and a pickle. Unpickling in Python can run any code; here nothing
//! is run, and a pickle that would expand to far more than its size is refused.

mod percent;
mod pickle;
mod record;
mod repr;

use std::io;
use std::process::ExitCode;

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
}

fn receive(request: &mut StreamRequest) -> HandlerResult {
    let mut data = Vec::new();
    while request.wait_for_data()? && RECORDS.read_into(&mut request.rfile, &mut data)? {
        match pickle::load(&data) {
            Ok(attributes) => print(&Record(attributes))?,
            Err(error) => log::warn!("a record from {}: {error}", request.client_address),
        }
    }
    Ok(())
}

fn print(record: &Record) -> io::Result<()> {
    let printed = writeln!(io::stdout(), "{record}");
    printed.map_err(|e| io::Error::other(format!("cannot print: {e}")))
}

fn serve(options: Options) -> io::Result<()> {
    let builder = ThreadingTcpServer::builder();
    let server = builder.bind_fn(options.address, receive)?;
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
