//! Answers each client's first message in upper case, and closes: the first example of Python's
//! `socketserver` documentation.
//!
//! ```text
//! cargo run --release --example upper_server
//! echo hello | nc -w 1 127.0.0.1 9999
//! ```

use std::io;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

const HELP: &str = "\
Answers each client's first message in upper case, and closes

Usage: upper_server [ADDRESS]

  [ADDRESS]   Where to listen [default: 127.0.0.1:9999]
  -h, --help  Print this help

At most 256 connections are served at once, and others wait. A client is disconnected when
it sends nothing, or does not read the answer, for 30 seconds.
";

/// The most connections at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may send nothing, or not read the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Upper;

impl RequestHandler for Upper {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut data = [0; 1024];
        let received = request.rfile.read(&mut data)?;
        let message = data[..received].trim_ascii();
        let text = message.escape_ascii();
        println!("{} wrote: {text}", request.client_address);
        request.wfile.write_all(&message.to_ascii_uppercase())?;
        Ok(())
    }
}

/// The address on the command line.
fn address() -> Result<String, lexopt::Error> {
    let mut address = None;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(address.unwrap_or_else(|| "127.0.0.1:9999".to_owned()))
}

fn serve(address: String) -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .max_connections(MAX_CONNECTIONS)
        .read_timeout(TIMEOUT)
        .write_timeout(TIMEOUT)
        .bind(address, || Upper)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let address = address().unwrap_or_else(|error| {
        eprintln!("upper_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address) {
        eprintln!("upper_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
