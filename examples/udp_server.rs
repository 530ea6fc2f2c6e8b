//! Prints each datagram and its sender, and answers `received`.
//!
//! ```text
//! cargo run --release --example udp_server
//! echo hello | nc -u -w 1 127.0.0.1 9000
//! ```

use std::io;
use std::process::ExitCode;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

/// Prints each datagram and its sender, and answers `received`
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9000")]
    address: String,
}

fn print(request: &mut DatagramRequest) -> HandlerResult {
    // In quotes and with escapes: an empty datagram shows, and none plays tricks on the terminal.
    let text = String::from_utf8_lossy(&request.packet);
    writeln!(io::stdout(), "{}: {text:?}", request.client_address)?;
    request.wfile = b"received".to_vec();
    Ok(())
}

fn serve(options: Options) -> io::Result<()> {
    let server = UdpServer::builder()
        .max_packet_size(65_507)
        .bind_fn(options.address, print)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("udp_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
