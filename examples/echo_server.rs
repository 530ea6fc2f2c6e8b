//! Sends back whatever it receives, over TCP or a Unix socket, to one client at a time or to many.
//!
//! ```text
//! cargo run --release --example echo_server
//! echo hello | nc -w 1 127.0.0.1 10000
//! ```
//!
//! `--help` lists its limits and timeouts; `--features fork` adds the forking kinds. For a server with
//! a single kind and no options see the README, or `upper_server`.

use std::io::{self, LineWriter};
use std::num::NonZeroUsize;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Bind;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

const HELP: &str = "\
Sends back whatever it receives

Usage: echo_server [OPTIONS] [ADDRESS]

  [ADDRESS]                 Where to listen; for the Unix kinds a path
                            [default: 127.0.0.1:10000]
  --server <KIND>           tcp and unix-stream serve one client at a time, threading-tcp and
                            threading-unix-stream many, each on a thread; with the feature
                            `fork` also forking-tcp and forking-unix-stream, each in a process
                            [default: threading-tcp]
  --max-threads <N>         The most threads, for the threading kinds [default: 4096]
  --max-children <N>        The most processes, for the forking kinds [default: 40]
  --max-connections <N>     The most connections at once [default: no limit but that of the
                            threads or processes]
  --overload <POLICY>       What happens to connections above the limit: wait (in the system's
                            queue) or reject (they read `server busy`); without threads they
                            always wait [default: wait]
  --per-ip <N>              The most connections of one IPv4 address or IPv6 /64 network at
                            once; more are rejected [default: no limit]
  --read-timeout <SECONDS>  How long each read may wait [default: no limit]
  --idle-timeout <SECONDS>  How long a client may stay without sending anything
                            [default: no limit]
  --deadline <SECONDS>      How long a connection may last in total [default: no limit]
  --drain <SECONDS>         How long clients may finish after Ctrl-C or SIGTERM [default: 30]
  --panic-on <TEXT>         Panic on reading TEXT, to show that other clients do not notice
  -h, --help                Print this help
";

struct Options {
    address: String,
    server: String,
    max_threads: usize,
    #[cfg(feature = "fork")]
    max_children: usize,
    max_connections: Option<usize>,
    overload: OverloadPolicy,
    per_ip: Option<usize>,
    read_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    deadline: Option<Duration>,
    drain: Duration,
    panic_on: Option<String>,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options {
        address: "127.0.0.1:10000".to_owned(),
        server: "threading-tcp".to_owned(),
        max_threads: 4096,
        #[cfg(feature = "fork")]
        max_children: 40,
        max_connections: None,
        overload: OverloadPolicy::Wait,
        per_ip: None,
        read_timeout: None,
        idle_timeout: None,
        deadline: None,
        drain: Duration::from_secs(30),
        panic_on: None,
    };
    let mut has_address = false;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("server") => options.server = kind(arguments.value()?.string()?)?,
            Long("max-threads") => options.max_threads = number("--max-threads", &mut arguments)?,
            #[cfg(feature = "fork")]
            Long("max-children") => {
                options.max_children = number("--max-children", &mut arguments)?;
            }
            Long("max-connections") => {
                options.max_connections = Some(number("--max-connections", &mut arguments)?);
            }
            Long("overload") => options.overload = policy(&arguments.value()?.string()?)?,
            Long("per-ip") => options.per_ip = Some(number("--per-ip", &mut arguments)?),
            Long("read-timeout") => {
                options.read_timeout = timeout("--read-timeout", &mut arguments)?
            }
            Long("idle-timeout") => {
                options.idle_timeout = timeout("--idle-timeout", &mut arguments)?
            }
            Long("deadline") => options.deadline = timeout("--deadline", &mut arguments)?,
            Long("drain") => options.drain = seconds("--drain", &mut arguments)?,
            Long("panic-on") => options.panic_on = Some(arguments.value()?.string()?),
            Value(address) if !has_address => {
                options.address = address.string()?;
                has_address = true;
            }
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

/// A kind of server that this build has.
fn kind(name: String) -> Result<String, String> {
    match &*name {
        "tcp" | "threading-tcp" | "unix-stream" | "threading-unix-stream" => Ok(name),
        "forking-tcp" | "forking-unix-stream" if cfg!(feature = "fork") => Ok(name),
        _ => Err(format!("--server: there is no kind {name:?} here")),
    }
}

fn policy(name: &str) -> Result<OverloadPolicy, String> {
    match name {
        "wait" => Ok(OverloadPolicy::Wait),
        "reject" => Ok(OverloadPolicy::Reject),
        _ => Err(format!("--overload: {name:?} is neither wait nor reject")),
    }
}

fn number(option: &str, arguments: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    let text = arguments.value()?.string()?;
    match text.parse() {
        Ok(number) => Ok(NonZeroUsize::get(number)),
        Err(_) => Err(format!("{option}: {text:?} is not a whole number above 0").into()),
    }
}

fn seconds(option: &str, arguments: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    let text = arguments.value()?.string()?;
    let time = text.parse().ok().map(Duration::try_from_secs_f64);
    match time {
        Some(Ok(time)) => Ok(time),
        _ => Err(format!("{option}: {text:?} is not a number of seconds").into()),
    }
}

fn timeout(
    option: &str,
    arguments: &mut lexopt::Parser,
) -> Result<Option<Duration>, lexopt::Error> {
    match seconds(option, arguments)? {
        Duration::ZERO => Err(format!("{option}: it must be more than 0 seconds").into()),
        time => Ok(Some(time)),
    }
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
    let panic_on = options.panic_on;
    let server = builder
        .disable_nagle_algorithm(true)
        .hooks(Busy)
        .max_connections(options.max_connections)
        .max_per_ip(options.per_ip)
        .overload(options.overload)
        .read_timeout(options.read_timeout)
        .idle_timeout(options.idle_timeout)
        .max_lifetime(options.deadline)
        .shutdown_timeout(options.drain)
        .bind_fn(options.address, move |request| {
            echo(request, panic_on.as_deref())
        })?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn run(options: Options) -> io::Result<()> {
    let threads = options.max_threads;
    match &*options.server {
        "tcp" => serve(TcpServer::builder(), options),
        "unix-stream" => serve(UnixStreamServer::builder(), options),
        "threading-unix-stream" => {
            let builder = ThreadingUnixStreamServer::builder();
            serve(builder.max_threads(threads), options)
        }
        #[cfg(feature = "fork")]
        "forking-tcp" => {
            let builder = ForkingTcpServer::builder().max_children(options.max_children);
            serve(builder, options)
        }
        #[cfg(feature = "fork")]
        "forking-unix-stream" => {
            let builder = ForkingUnixStreamServer::builder().max_children(options.max_children);
            serve(builder, options)
        }
        _ => serve(ThreadingTcpServer::builder().max_threads(threads), options),
    }
}

fn main() -> ExitCode {
    let options = options().unwrap_or_else(|error| {
        eprintln!("echo_server: {error} (see --help)");
        process::exit(2);
    });
    // Whole lines at once: with a forking kind the children write to it too.
    let log = LineWriter::new(io::stderr());
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), log);
    if let Err(error) = run(options) {
        eprintln!("echo_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
