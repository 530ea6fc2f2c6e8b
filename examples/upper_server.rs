//! Answers each client's first message in upper case, and closes: the first example of Python's
//! `socketserver` documentation.
//!
//! ```text
//! cargo run --release --example upper_server
//! echo hello | nc 127.0.0.1 9999
//! ```

use std::io;
use std::process::ExitCode;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::prelude::*;

/// Answers each client's first message in upper case, and closes
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9999")]
    address: String,
}

struct Upper;

impl RequestHandler for Upper {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut data = [0; 1024];
        let received = request.rfile.read(&mut data)?;
        let message = data[..received].trim_ascii();
        println!(
            "{} wrote: {}",
            request.client_address,
            message.escape_ascii()
        );
        request.wfile.write_all(&message.to_ascii_uppercase())?;
        Ok(())
    }
}

fn serve(options: Options) -> io::Result<()> {
    let builder = ThreadingTcpServer::builder().allow_reuse_address(true);
    let server = builder.bind(options.address, || Upper)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("upper_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
