//! Sends one datagram, and prints the reply: the client of `udp_server`.
//!
//! ```text
//! cargo run --release --example udp_server
//! cargo run --release --example udp_client hello
//! ```

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// How long the reply may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What 65,535 bytes of IPv4 leave for data.
const MOST: usize = 65_507;

/// Sends one datagram, and prints the reply
#[derive(Parser)]
#[command(allow_missing_positional = true)]
struct Options {
    /// The server
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:9000")]
    address: String,
    /// What to send; may be empty
    text: String,
}

fn ask(server: SocketAddr, text: &str) -> io::Result<Vec<u8>> {
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    // From here on only the server is heard, and also that there is none.
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(text.as_bytes())?;
    let mut reply = vec![0; 65_535];
    let received = socket.recv(&mut reply).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => io::Error::other(format!("no reply within {PATIENCE:?}")),
        _ => e,
    })?;
    reply.truncate(received);
    Ok(reply)
}

fn converse(options: &Options) -> io::Result<()> {
    let length = options.text.len();
    if length > MOST {
        let message = format!("{length} bytes are too many for a datagram, which takes {MOST}");
        return Err(io::Error::other(message));
    }
    // A name may stand for several addresses, and nobody listens on some of them.
    let mut reply = Err(io::Error::other("the name has no address"));
    for server in options.address.to_socket_addrs()? {
        reply = ask(server, &options.text);
        let refused = matches!(&reply, Err(e) if e.kind() == io::ErrorKind::ConnectionRefused);
        if !refused {
            break;
        }
    }
    let mut output = io::stdout();
    output.write_all(&reply?)?;
    writeln!(output)
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = converse(&options) {
        eprintln!("udp_client: {}: {error}", options.address);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
