//! Sends one datagram, and prints the reply: the client of `udp_server`.
//!
//! ```text
//! cargo run --release --example udp_server
//! cargo run --release --example udp_client hello
//! ```

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;

const HELP: &str = "\
Sends one datagram, and prints the reply

Usage: udp_client [HOST:PORT] <TEXT>

  [HOST:PORT]  The server [default: 127.0.0.1:9000]
  <TEXT>       What to send; may be empty
  -h, --help   Print this help
";

const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// The headers of IPv4 and UDP leave this much of 65,535 bytes for data.
const MAX_DATA: usize = 65_507;

/// The server's address and the text on the command line.
fn options() -> Result<(String, String), lexopt::Error> {
    let mut words = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Value(value) if words.len() < 2 => words.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let text = words.pop().ok_or("there is no TEXT to send")?;
    let address = words.pop();
    Ok((address.unwrap_or("127.0.0.1:9000".to_owned()), text))
}

fn ask(server: SocketAddr, text: &str) -> io::Result<Vec<u8>> {
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    // A connected socket receives from the server only, and reports that nothing listens there.
    socket.connect(server)?;
    socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
    socket.send(text.as_bytes())?;
    let mut reply = vec![0; 65_535];
    let received = socket.recv(&mut reply).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => io::Error::other(format!("no reply within {REPLY_TIMEOUT:?}")),
        _ => e,
    })?;
    reply.truncate(received);
    Ok(reply)
}

fn run(address: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    if length > MAX_DATA {
        let message = format!("{length} bytes are too many for a datagram: {MAX_DATA} at most");
        return Err(io::Error::other(message));
    }
    // A name may have several addresses, and the server may listen on one of them only.
    let mut reply = Err(io::Error::other("the name has no address"));
    for server in address.to_socket_addrs()? {
        reply = ask(server, text);
        if !matches!(&reply, Err(e) if e.kind() == io::ErrorKind::ConnectionRefused) {
            break;
        }
    }
    let mut output = io::stdout();
    output.write_all(&reply?)?;
    writeln!(output)
}

fn main() -> ExitCode {
    let (address, text) = options().unwrap_or_else(|error| {
        eprintln!("udp_client: {error} (see --help)");
        process::exit(2);
    });
    if let Err(error) = run(&address, &text) {
        eprintln!("udp_client: {address}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
