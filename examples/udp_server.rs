//! Prints each datagram and its sender, and answers `received`.
//!
//! ```text
//! cargo run --release --example udp_server
//! echo hello | nc -u -w 1 127.0.0.1 9000
//! ```

use std::io;
use std::process::{self, ExitCode};

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

const HELP: &str = "\
Prints each datagram and its sender, and answers `received`

Usage: udp_server [ADDRESS]

  [ADDRESS]   Where to listen [default: 127.0.0.1:9000]
  -h, --help  Print this help
";

fn print(request: &mut DatagramRequest) -> HandlerResult {
    // In quotes and with escapes: an empty datagram is visible, and a control character is harmless.
    let text = String::from_utf8_lossy(&request.packet);
    writeln!(io::stdout(), "{}: {text:?}", request.client_address)?;
    request.wfile = b"received".to_vec();
    Ok(())
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
    Ok(address.unwrap_or_else(|| "127.0.0.1:9000".to_owned()))
}

fn serve(address: String) -> io::Result<()> {
    let server = UdpServer::builder()
        .max_packet_size(65_507)
        .bind_fn(address, print)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let address = address().unwrap_or_else(|error| {
        eprintln!("udp_server: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address) {
        eprintln!("udp_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
