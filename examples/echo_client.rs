//! Sends each line you type to an echo server, and prints what comes back.
//!
//! ```text
//! cargo run --release --example echo_server
//! cargo run --release --example echo_client
//! ```

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;

use clap::Parser;
use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};

/// Sends each line you type to an echo server, until `exit`
#[derive(Parser)]
struct Options {
    /// The server; its port may be the name of a service, as in `localhost:http`
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:10000", value_parser = with_port)]
    address: String,
    /// Show the addresses of both ends
    #[arg(long)]
    verbose: bool,
}

fn with_port(address: &str) -> Result<String, &'static str> {
    match address.rsplit_once(':') {
        Some((_host, port)) if !port.is_empty() => Ok(address.to_owned()),
        _ => Err("there is no `:PORT` at its end"),
    }
}

/// The standard library knows no services by name; the system's resolver does.
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

/// An echo is as long as what was sent. Longer texts go in pieces, or both ends would wait with
/// their buffers full.
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

fn converse(options: &Options) -> io::Result<()> {
    let address = &options.address;
    let about = |what: &str, e: io::Error| io::Error::other(format!("{what} {address}: {e}"));
    let connected = resolve(address).and_then(|all| TcpStream::connect(&all[..]));
    let mut stream = connected.map_err(|e| about("cannot connect to", e))?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    if options.verbose {
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
            b"" => {} // There is nothing to send, so nothing would come back.
            text => {
                output.write_all(&echo(&mut stream, text).map_err(|e| about("lost", e))?)?;
                writeln!(output)?;
            }
        }
    }
}

fn main() -> ExitCode {
    if let Err(error) = converse(&Options::parse()) {
        eprintln!("echo_client: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
