//! Sends each datagram back to its sender.
//!
//! ```text
//! cargo run --release --example udp_echo_server
//! echo hello | nc -u -w 1 127.0.0.1 9005
//! ```

use std::io;
use std::process::{self, ExitCode};

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Udp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

const HELP: &str = "\
Sends each datagram back to its sender

Usage: udp_echo_server [OPTIONS] [ADDRESS]

  [ADDRESS]    Where to listen; `systemd` or `systemd:NAME` takes a socket from systemd, in a
               build with `--features systemd` [default: 127.0.0.1:9005]
  --threading  Handle several datagrams at once, each on a thread of a pool
               [default: one after the other]
  --green      Handle many at once on each thread; it needs a build with `--features green`
  -h, --help   Print this help
";

/// The address, and how to serve.
fn options() -> Result<(String, &'static str), lexopt::Error> {
    let (mut address, mut kind) = (None, "udp");
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("threading") => kind = "threading-udp",
            Long("green") => kind = "green-udp",
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok((address.unwrap_or("127.0.0.1:9005".to_owned()), kind))
}

fn echo(request: &mut DatagramRequest) -> HandlerResult {
    request.reply(&request.packet)?;
    Ok(())
}

/// The name in `systemd:NAME`, or none in `systemd`. `None` for every other address.
fn name_from_systemd(address: &str) -> Option<Option<&str>> {
    let rest = address.strip_prefix("systemd")?;
    match rest.strip_prefix(':') {
        Some(name) => Some(Some(name)),
        None => rest.is_empty().then_some(None),
    }
}

#[cfg(feature = "systemd")]
fn socket(name: Option<&str>) -> io::Result<Udp> {
    socketserver::systemd::socket(name)
}

#[cfg(not(feature = "systemd"))]
fn socket(_: Option<&str>) -> io::Result<Udp> {
    let text = "the address systemd needs a build with `--features systemd`";
    Err(io::Error::other(text))
}

fn serve<D: Dispatch>(builder: Builder<Udp, D>, address: String) -> io::Result<()> {
    let builder = builder.max_packet_size(65_507);
    let server = match name_from_systemd(&address) {
        Some(name) => builder.adopt_fn(socket(name)?, echo)?,
        None => builder.bind_fn(address, echo)?,
    };
    server.shutdown_on_ctrlc()?;
    #[cfg(feature = "systemd")]
    server.notify_systemd()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let (address, kind) = options().unwrap_or_else(|error| {
        eprintln!("udp_echo_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    let served = match kind {
        "threading-udp" => serve(ThreadingUdpServer::builder(), address),
        #[cfg(feature = "green")]
        "green-udp" => serve(GreenUdpServer::builder(), address),
        #[cfg(not(feature = "green"))]
        "green-udp" => Err(io::Error::other(
            "--green needs a build with `--features green`",
        )),
        _ => serve(UdpServer::builder(), address),
    };
    if let Err(error) = served {
        eprintln!("udp_echo_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
