//! Greets each client with `Welcome!`, and answers each message `NAME` with `Hello, NAME!`, until the
//! message is `exit` or the client closes its side.
//!
//! ```text
//! cargo run --release --example hello_server
//! nc 127.0.0.1 8888
//! ```
//!
//! A message is what arrives at once, as from a Python client that sends a name and then waits in
//! `recv(1024)`; it ends at a newline if it contains one, as from `nc`. The answer ends with a newline
//! if the message did. White space around a name is removed, and an empty line is not answered.

use std::io;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

const HELP: &str = "\
Answers each NAME with `Hello, NAME!`, until `exit`

Usage: hello_server [OPTIONS] [ADDRESS]

  [ADDRESS]   Where to listen [default: 127.0.0.1:8888]
  --green     Serve many connections on each thread; it needs a build with
              `--features green` [default: each on a thread]
  -h, --help  Print this help

At most 256 connections are served at once, and others wait. A client is disconnected when
it sends nothing for 5 minutes, or reads nothing of what it is sent for 30 seconds.
";

/// The most connections at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may read nothing of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

fn hello(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"Welcome!")?;
    while request.wait_for_data()? {
        let received = request.rfile.fill_buf()?;
        let newline = received.iter().position(|byte| *byte == b'\n');
        let message = &received[..newline.map_or(received.len(), |at| at + 1)];
        let end: &[u8] = if newline.is_some() { b"\n" } else { b"" };
        let answer = match message.trim_ascii() {
            b"exit" => break,
            b"" => Vec::new(),
            name => [b"Hello, ", name, b"!", end].concat(),
        };
        let answered = message.len();
        request.wfile.write_all(&answer)?;
        request.rfile.consume(answered);
    }
    Ok(())
}

/// The address, and whether to serve many connections on each thread.
fn options() -> Result<(String, bool), lexopt::Error> {
    let (mut address, mut green) = (None, false);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("green") => green = true,
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok((address.unwrap_or("127.0.0.1:8888".to_owned()), green))
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, address: String) -> io::Result<()> {
    let server = builder
        .disable_nagle_algorithm(true)
        .max_connections(MAX_CONNECTIONS)
        .idle_timeout(IDLE_TIMEOUT)
        .write_timeout(WRITE_TIMEOUT)
        .bind_fn(address, hello)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let (address, green) = options().unwrap_or_else(|error| {
        eprintln!("hello_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    let served = match green {
        false => serve(ThreadingTcpServer::builder(), address),
        #[cfg(feature = "green")]
        true => serve(GreenTcpServer::builder(), address),
        #[cfg(not(feature = "green"))]
        true => Err(io::Error::other(
            "--green needs a build with `--features green`",
        )),
    };
    if let Err(error) = served {
        eprintln!("hello_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
