//! Sends each datagram back to its sender.
//!
//! ```text
//! cargo run --release --example udp_echo_server
//! echo hello | nc -u -w 1 127.0.0.1 9000
//! ```

use std::io;
use std::process::ExitCode;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Udp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

/// Sends each datagram back to its sender
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9000")]
    address: String,
    /// Handle datagrams side by side, each on a thread
    #[arg(long)]
    threading: bool,
}

fn serve<D: Dispatch>(builder: Builder<Udp, D>, address: String) -> io::Result<()> {
    let server = builder
        .max_packet_size(65_507)
        .bind_fn(address, |request| {
            request.reply(&request.packet)?;
            Ok(())
        })?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn run(options: Options) -> io::Result<()> {
    if options.threading {
        serve(ThreadingUdpServer::builder(), options.address)
    } else {
        serve(UdpServer::builder(), options.address)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = run(options) {
        eprintln!("udp_echo_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
