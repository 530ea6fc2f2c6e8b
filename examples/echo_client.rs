//! Sends each line you type to an echo server, and prints what comes back.
//!
//! ```text
//! cargo run --release --example echo_server
//! cargo run --release --example echo_client
//! ```

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{self, ExitCode};

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};
use lexopt::prelude::*;

const HELP: &str = "\
Sends each line you type to an echo server and prints the answer, until `exit`

Usage: echo_client [OPTIONS] [HOST:PORT]

  [HOST:PORT]  The server; PORT may be the name of a service, as in `localhost:http`
               [default: 127.0.0.1:10000]
  --verbose    Show the addresses of both ends
  -h, --help   Print this help
";

/// The server's address, and whether to be verbose.
fn options() -> Result<(String, bool), lexopt::Error> {
    let (mut address, mut verbose) = (None, false);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("verbose") => verbose = true,
            Value(value) if address.is_none() => address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let address = address.unwrap_or_else(|| "127.0.0.1:10000".to_owned());
    match address.rsplit_once(':') {
        Some((_host, port)) if !port.is_empty() => Ok((address, verbose)),
        _ => Err(format!("{address:?} does not end with `:PORT`").into()),
    }
}

/// The standard library does not resolve names of services; the system's resolver does.
fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let (host, service) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_matches(['[', ']']);
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), Some(service), Some(hints))?;
    found.map(|info| Ok(info?.sockaddr)).collect()
}

/// An echo is as long as what was sent. Long texts are sent in pieces: otherwise both ends could wait
/// for each other with full buffers.
fn echo(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut echo = Vec::new();
    for piece in text.chunks(16_384) {
        stream.write_all(piece)?;
        let wanted = piece.len() as u64;
        if (stream.take(wanted).read_to_end(&mut echo)? as u64) < wanted {
            let message = "it has closed the connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
    }
    Ok(echo)
}

fn talk(address: &str, verbose: bool) -> io::Result<()> {
    let about = |what: &str, e: io::Error| io::Error::other(format!("{what} {address}: {e}"));
    let connected = resolve(address).and_then(|all| TcpStream::connect(&all[..]));
    let mut stream = connected.map_err(|e| about("cannot connect to", e))?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    if verbose {
        let (ours, theirs) = (stream.local_addr()?, stream.peer_addr()?);
        writeln!(output, "connected from {ours} to {theirs}")?;
    }
    let mut line = Vec::new();
    loop {
        write!(output, "input>")?;
        output.flush()?;
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return writeln!(output);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match text.strip_suffix(b"\r").unwrap_or(text) {
            b"exit" => return Ok(()),
            b"" => {} // Nothing would come back.
            text => {
                output.write_all(&echo(&mut stream, text).map_err(|e| about("lost", e))?)?;
                writeln!(output)?;
            }
        }
    }
}

fn main() -> ExitCode {
    let (address, verbose) = options().unwrap_or_else(|error| {
        eprintln!("echo_client: {error} (see --help)");
        process::exit(2);
    });
    if let Err(error) = talk(&address, verbose) {
        eprintln!("echo_client: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
