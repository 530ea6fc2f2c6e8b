//! Sends back whatever it receives, over TCP or a Unix socket, to one client at a time or to many.
//!
//! ```text
//! cargo run --release --example echo_server
//! echo hello | nc -N 127.0.0.1 10000
//! ```
//!
//! `--help` lists its limits and timeouts; `--features fork` adds the forking kinds.

use std::io::{self, LineWriter};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

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
    /// The most clients at once, for the forking kinds [default: 40]
    #[cfg(feature = "fork")]
    #[arg(long, value_name = "N")]
    max_children: Option<NonZeroUsize>,
    /// The most clients at once [default: no bound but that of the threads, or 40 processes]
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    /// What becomes of clients there is no room for; without threads they always wait
    #[arg(long, value_name = "POLICY", default_value = "wait")]
    overload: Policy,
    /// The most clients of one IPv4 address or IPv6 /64 network at once; more are rejected [default:
    /// no bound]
    #[arg(long, value_name = "N")]
    per_ip: Option<NonZeroUsize>,
    /// Panic on reading TEXT, to show that nobody else notices
    #[arg(long, value_name = "TEXT")]
    panic_on: Option<String>,
    /// How long each read may wait for its client [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    read_timeout: Option<Duration>,
    /// How long a client may stay without sending anything [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    idle_timeout: Option<Duration>,
    /// How long a client may stay in all [default: for ever]
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    deadline: Option<Duration>,
    /// How long Ctrl-C or SIGTERM lets clients finish
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    drain: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    let some = seconds(text)?;
    (!some.is_zero())
        .then_some(some)
        .ok_or("must be more than 0".into())
}

#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    /// They wait in the system's queue
    Wait,
    /// They read "server busy"
    Reject,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tcp,
    ThreadingTcp,
    UnixStream,
    ThreadingUnixStream,
    #[cfg(feature = "fork")]
    ForkingTcp,
    #[cfg(feature = "fork")]
    ForkingUnixStream,
}

struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(request.wfile.write_all(b"server busy\n")?)
    }
}

fn echo(request: &mut StreamRequest, panic_on: Option<&str>) -> HandlerResult {
    while request.wait_for_data()? {
        let data = request.rfile.fill_buf()?;
        if let Some(text) = panic_on.filter(|text| contains(data, text)) {
            panic!("{} sent {text:?}", request.client_address);
        }
        request.wfile.write_all(data)?;
        let echoed = data.len();
        request.rfile.consume(echoed);
    }
    Ok(())
}

fn contains(data: &[u8], text: &str) -> bool {
    data.windows(text.len().max(1))
        .any(|part| part == text.as_bytes())
}

fn serve<L, D>(builder: Builder<L, D>, options: Options) -> io::Result<()>
where
    L: Bind<String, Request = StreamRequest>,
    D: Dispatch,
{
    let builder = builder
        .allow_reuse_address(true)
        .disable_nagle_algorithm(true)
        .hooks(Busy)
        .max_connections(options.max_connections.map(NonZeroUsize::get))
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .overload(match options.overload {
            Policy::Wait => OverloadPolicy::Wait,
            Policy::Reject => OverloadPolicy::Reject,
        })
        .read_timeout(options.read_timeout)
        .idle_timeout(options.idle_timeout)
        .max_lifetime(options.deadline)
        .shutdown_timeout(options.drain);
    let panic_on = options.panic_on;
    let server = builder.bind_fn(options.address, move |request| {
        echo(request, panic_on.as_deref())
    })?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn run(options: Options) -> io::Result<()> {
    let max_threads = options.max_threads.map_or(4096, NonZeroUsize::get);
    #[cfg(feature = "fork")]
    let max_children = options.max_children.map_or(40, NonZeroUsize::get);
    match options.server {
        Kind::Tcp => serve(TcpServer::builder(), options),
        Kind::ThreadingTcp => serve(
            ThreadingTcpServer::builder().max_threads(max_threads),
            options,
        ),
        Kind::UnixStream => serve(UnixStreamServer::builder(), options),
        Kind::ThreadingUnixStream => serve(
            ThreadingUnixStreamServer::builder().max_threads(max_threads),
            options,
        ),
        #[cfg(feature = "fork")]
        Kind::ForkingTcp => serve(
            ForkingTcpServer::builder().max_children(max_children),
            options,
        ),
        #[cfg(feature = "fork")]
        Kind::ForkingUnixStream => serve(
            ForkingUnixStreamServer::builder().max_children(max_children),
            options,
        ),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Each line in one piece: children write to it too.
    let log = LineWriter::new(io::stderr());
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), log);
    if let Err(error) = run(options) {
        eprintln!("echo_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
