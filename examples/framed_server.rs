//! Answers each message with the message in upper case. A message is UTF-8 text after its length, so
//! it arrives whole however the network splits or joins the bytes.
//!
//! Upper case may be longer, up to three times in bytes: `ŉ` becomes `ʼN`. Messages and replies have the
//! same limit: 1 MiB, or what the prefix can express. A message that is too long, or whose reply would be,
//! is not answered: the connection is closed, and the log has the reason.
//!
//! ```text
//! cargo run --release --example framed_server
//! cargo run --release --example framed_client hello world
//! ```

use std::process::{self, ExitCode};
use std::time::Duration;
use std::{io, str};

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;

const HELP: &str = "\
Answers each length-prefixed message with the message in upper case

Usage: framed_server [OPTIONS] [ADDRESS]

  [ADDRESS]          Where to listen [default: 127.0.0.1:9001]
  --prefix <FORMAT>  The length in front of each message, in the notation of Python's
                     struct [default: !I, 4 bytes in network order]
  -h, --help         Print this help

A message and its reply have at most 1 MiB. At most 256 connections are served at once, and
others wait. A client is disconnected when it sends nothing for 5 minutes, or for 30 seconds
inside a message, or when it reads nothing of its replies for 30 seconds.
";

/// The most connections at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may send nothing inside a message, or read nothing of a reply.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The address and the prefix on the command line.
fn options() -> Result<(String, Prefix), lexopt::Error> {
    let (mut address, mut prefix) = (None, Prefix::U32);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("prefix") => {
                let format = arguments.value()?.string()?;
                prefix = format.parse().map_err(|e| format!("--prefix: {e}"))?;
            }
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok((address.unwrap_or("127.0.0.1:9001".to_owned()), prefix))
}

fn upper(framing: Framing, request: &mut StreamRequest) -> HandlerResult {
    let mut message = Vec::new();
    while request.wait_for_data()? && framing.read_into(&mut request.rfile, &mut message)? {
        let text = str::from_utf8(&message)?;
        let reply = text.to_uppercase();
        framing
            .write(&mut request.wfile, reply.as_bytes())
            .map_err(|e| format!("the reply to {} bytes: {e}", message.len()))?;
    }
    Ok(())
}

fn serve(address: String, framing: Framing) -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .disable_nagle_algorithm(true)
        .max_connections(MAX_CONNECTIONS)
        .idle_timeout(IDLE_TIMEOUT)
        .read_timeout(TIMEOUT)
        .write_timeout(TIMEOUT)
        .bind_fn(address, move |request| upper(framing, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let (address, prefix) = options().unwrap_or_else(|error| {
        eprintln!("framed_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address, Framing::new(prefix)) {
        eprintln!("framed_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
