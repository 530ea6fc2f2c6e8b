//! Answers each message with itself in upper case. A message is UTF-8 behind its length, so it comes
//! out whole however the network cuts or joins the bytes ("sticky packets").
//!
//! ```text
//! cargo run --release --example framed_server
//! cargo run --release --example framed_client hello world
//! ```

use std::io;
use std::process::ExitCode;
use std::str;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;

/// Answers each length-prefixed message with itself in upper case
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9001")]
    address: String,
    /// The length in front of each message, in the notation of Python's struct
    #[arg(long, value_name = "FORMAT", default_value = "!I")]
    prefix: Prefix,
}

fn shout(framing: Framing, request: &mut StreamRequest) -> HandlerResult {
    let mut message = Vec::new();
    while request.wait_for_data()? && framing.read_into(&mut request.rfile, &mut message)? {
        let text = str::from_utf8(&message)?;
        framing.write(&mut request.wfile, text.to_uppercase().as_bytes())?;
    }
    Ok(())
}

fn serve(options: Options) -> io::Result<()> {
    let framing = Framing::new(options.prefix);
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .disable_nagle_algorithm(true)
        .bind_fn(options.address, move |request| shout(framing, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("framed_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
