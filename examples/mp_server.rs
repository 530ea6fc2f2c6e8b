//! A server for Python's `multiprocessing.connection`: each message comes back in upper case.
//!
//! ```text
//! cargo run --release --features auth-md5 --example mp_server -- --key sesame
//! python3 -c '
//! from multiprocessing.connection import Client
//! with Client(("127.0.0.1", 9003), authkey=b"sesame") as connection:
//!     connection.send_bytes(b"hello")
//!     print(connection.recv_bytes())'
//! ```

use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::auth::Multiprocessing;
use socketserver::prelude::*;

/// Answers each message of Python's multiprocessing.connection.Client in upper case
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:9003")]
    address: String,
    /// The secret shared with the clients: their authkey
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    key: String,
}

fn upper(auth: &Multiprocessing, request: &mut StreamRequest) -> HandlerResult {
    let mut connection = auth.accept(request)?;
    while connection.get_mut().wait_for_data()? {
        if let Some(mut message) = connection.recv_bytes()? {
            message.make_ascii_uppercase();
            connection.send_bytes(&message)?;
        }
    }
    Ok(())
}

fn serve(options: Options) -> io::Result<()> {
    let auth = Multiprocessing::new(options.key);
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .bind_fn(options.address, move |request| upper(&auth, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("mp_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
