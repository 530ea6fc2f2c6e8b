//! Greets each client with `Welcome!`, and answers each message `NAME` with `Hello, NAME!`, until the
//! message is `exit` or the client leaves.
//!
//! ```text
//! cargo run --release --example hello_server
//! nc 127.0.0.1 8888
//! ```
//!
//! A message is what arrives at once, as from a Python client that sends a name and then waits in
//! `recv(1024)`; it ends at a newline if there is one in it, as from `nc`. Whichever it was, the answer
//! ends the same way: with a newline only if the message had one. White space around a name does not
//! count, and an empty line is not answered.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

/// Answers each NAME with `Hello, NAME!`, until `exit`
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:8888")]
    address: String,
}

fn hello(request: &mut StreamRequest) -> HandlerResult {
    request.wfile.write_all(b"Welcome!")?;
    while request.wait_for_data()? {
        let received = request.rfile.fill_buf()?;
        let message = received
            .split_inclusive(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let end: &[u8] = if message.ends_with(b"\n") { b"\n" } else { b"" };
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

fn serve(options: Options) -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .disable_nagle_algorithm(true)
        .bind_fn(options.address, hello)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("hello_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
