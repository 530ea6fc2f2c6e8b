//! Sends back whatever it receives, over TCP or a Unix socket, to one client at a time or to many.
//!
//! ```text
//! cargo run --release --example echo_server
//! echo hello | nc -N 127.0.0.1 10000
//! ```

use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Bind;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

/// Sends back whatever it receives
#[derive(Parser)]
struct Options {
    /// Where to listen; for the Unix kinds a path
    #[arg(default_value = "127.0.0.1:10000")]
    address: String,
    /// What to listen on, and whether to serve many clients at once
    #[arg(long, value_name = "KIND", default_value = "threading-tcp")]
    server: Kind,
    /// The most clients at once, for the threading kinds [default: 4096]
    #[arg(long, value_name = "N")]
    max_threads: Option<NonZeroUsize>,
}

#[derive(Clone, ValueEnum)]
enum Kind {
    Tcp,
    ThreadingTcp,
    UnixStream,
    ThreadingUnixStream,
}

fn echo(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_idle()? {
        let data = request.rfile.fill_buf()?;
        request.wfile.write_all(data)?;
        let echoed = data.len();
        request.rfile.consume(echoed);
    }
    Ok(())
}

fn serve<L, D>(builder: Builder<L, D>, address: String) -> io::Result<()>
where
    L: Bind<String, Request = StreamRequest>,
    D: Dispatch,
{
    let builder = builder
        .allow_reuse_address(true)
        .disable_nagle_algorithm(true);
    let server = builder.bind_fn(address, echo)?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn run(options: Options) -> io::Result<()> {
    let max_threads = options.max_threads.map_or(4096, NonZeroUsize::get);
    match options.server {
        Kind::Tcp => serve(TcpServer::builder(), options.address),
        Kind::ThreadingTcp => serve(
            ThreadingTcpServer::builder().max_threads(max_threads),
            options.address,
        ),
        Kind::UnixStream => serve(UnixStreamServer::builder(), options.address),
        Kind::ThreadingUnixStream => serve(
            ThreadingUnixStreamServer::builder().max_threads(max_threads),
            options.address,
        ),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = run(options) {
        eprintln!("echo_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
