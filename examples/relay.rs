//! Passes connections on to another address, byte for byte, both directions at once.
//!
//! ```text
//! cargo run --release -p http_server
//! cargo run --release --example relay -- 127.0.0.1:8000
//! curl http://127.0.0.1:8080/
//! ```
//!
//! Each end receives what the other sends: its bytes, the end of its stream while the other direction
//! goes on, and a reset. The name in `TARGET` is resolved for each connection. Both ends get a reset when
//! nothing could be received from or sent to either end for the idle timeout. TCP sends to a slow reader in
//! steps of about 100 KB: the timeout must be longer than it takes to read that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::num::{NonZeroU16, NonZeroUsize};
use std::os::fd::AsFd;
use std::process::{self, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socket2::{SockRef, TcpKeepalive};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
#[cfg(feature = "proxy-protocol")]
use socketserver::proxy_protocol;
use socketserver::{Builder, Dispatch, task};

const HELP: &str = "\
Passes connections on to another address

Usage: relay [OPTIONS] [ADDRESS] <TARGET>

  [ADDRESS]                 Where to listen [default: 127.0.0.1:8080]
  <TARGET>                  Where to pass connections on to, HOST:PORT
  --max-connections <N>     The most connections at once; others wait in the system's queue
                            [default: 1024]
  --per-ip <N>              The most connections of one IPv4 address or IPv6 /64 network at
                            once; more are closed [default: no limit]
  --idle-timeout <SECONDS>  Both ends are reset when nothing could be received from or sent to
                            either end for that long, in whole seconds [default: 600]
  --drain <SECONDS>         How long connections may finish after Ctrl-C or SIGTERM, in whole
                            seconds [default: 10]
  --send-proxy <VERSION>    Send a PROXY header, v1 or v2, with the client's address in front of
                            its data; it needs a build with `--features proxy-protocol`
                            [default: none]
  --green                   Serve many connections on each thread; it needs a build with
                            `--features green` [default: each on two threads]
  -h, --help                Print this help
";

struct Options {
    address: String,
    target: String,
    max_connections: NonZeroUsize,
    per_ip: Option<NonZeroUsize>,
    idle_timeout: Duration,
    drain: Duration,
    send_proxy: Option<HeaderFn>,
    green: bool,
}

/// Makes a PROXY header of the client's address and the one that it has connected to.
type HeaderFn = fn(&Address, &Address) -> Vec<u8>;

fn options() -> Result<Options, lexopt::Error> {
    let (mut words, mut drain, mut green) = (Vec::new(), 10, false);
    let mut max_connections = NonZeroUsize::new(1024).expect("it is not 0");
    let (mut per_ip, mut idle) = (None, NonZeroU16::new(600).expect("it is not 0"));
    let mut send_proxy = None;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            Long("drain") => {
                let text = arguments.value()?.string()?;
                let seconds = text.parse::<u16>();
                drain =
                    seconds.map_err(|_| format!("--drain: {text:?} is not 0 to 65535 seconds"))?;
            }
            Long("max-connections") => max_connections = arguments.value()?.parse()?,
            Long("per-ip") => per_ip = Some(arguments.value()?.parse()?),
            Long("idle-timeout") => idle = arguments.value()?.parse()?,
            Long("send-proxy") => send_proxy = Some(header(&arguments.value()?.string()?)?),
            Long("green") => green = true,
            Value(value) if words.len() < 2 => words.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let target = words.pop().ok_or("the TARGET is missing")?;
    if !is_host_and_port(&target) {
        return Err(format!("the TARGET {target:?} is not HOST:PORT").into());
    }
    let address = words.pop().unwrap_or("127.0.0.1:8080".to_owned());
    Ok(Options {
        address,
        target,
        max_connections,
        per_ip,
        idle_timeout: Duration::from_secs(idle.get().into()),
        drain: Duration::from_secs(drain.into()),
        send_proxy,
        green,
    })
}

#[cfg(feature = "proxy-protocol")]
fn header(version: &str) -> Result<HeaderFn, String> {
    match version {
        "v1" => Ok(proxy_protocol::v1_header),
        "v2" => Ok(proxy_protocol::v2_header),
        _ => Err(format!("--send-proxy: {version:?} is neither v1 nor v2")),
    }
}

#[cfg(not(feature = "proxy-protocol"))]
fn header(_: &str) -> Result<HeaderFn, String> {
    Err("--send-proxy needs a build with `--features proxy-protocol`".to_owned())
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<NonZeroU16>().is_ok())
}

/// For each address of the target's name.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the two directions of a connection share.
struct Shared {
    broken: AtomicBool,
    /// When a direction last received or sent something.
    active: Mutex<Instant>,
    idle_timeout: Duration,
}

impl Shared {
    /// Repeats a read or write until it is done, or both directions are idle.
    fn repeat(&self, mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            let done = call();
            let mut active = self.active.lock().expect("copying does not panic");
            match done.as_ref().map_err(io::Error::kind) {
                Err(ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    if active.elapsed() >= self.idle_timeout {
                        let seconds = self.idle_timeout.as_secs();
                        return Err(io::Error::other(format!("it was idle for {seconds} s")));
                    }
                }
                _ => {
                    *active = Instant::now();
                    return done;
                }
            }
        }
    }
}

fn relay(request: &mut StreamRequest, options: &Options) -> HandlerResult {
    let (target, idle_timeout) = (&options.target, options.idle_timeout);
    let target = task::connect(target, CONNECT_TIMEOUT)
        .map_err(|e| format!("cannot reach {target}: {e}"))?;
    prepare(&SockRef::from(&*request))?;
    prepare(&SockRef::from(&target))?;
    // Until all is copied, its end is a reset: also if the program ends first.
    SockRef::from(&target).set_linger(Some(Duration::ZERO))?;
    // Each read and write looks from time to time whether the other direction is idle too.
    request.set_timeout(idle_timeout / 4)?;
    target.set_read_timeout(idle_timeout / 4)?;
    target.set_write_timeout(idle_timeout / 4)?;
    if let Some(header) = options.send_proxy {
        let header = header(&request.client_address, &request.local_address()?);
        (&target).write_all(&header)?;
    }
    let shared = Shared {
        broken: AtomicBool::new(false),
        active: Mutex::new(Instant::now()),
        idle_timeout,
    };
    let (rfile, wfile) = request.split();
    let (back, there) = task::join(
        || copy(&target, wfile, &shared),
        || copy(rfile, &target, &shared),
    )?;
    if let Err(error) = there.and(back) {
        log::info!("{} was reset: {error}", request.client_address);
        // Neither end may take what it received for complete, so both get a reset.
        request.abort();
        return Ok(());
    }
    Ok(SockRef::from(&target).set_linger(None)?)
}

/// Keepalive finds out before the idle timeout when a machine is gone.
fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))
}

/// Copies one direction, until the stream ends or either end is reset.
fn copy(from: impl Read, mut to: impl Write + AsFd, shared: &Shared) -> io::Result<()> {
    let copied = copy_data(from, &mut to, shared);
    let to = SockRef::from(&to);
    // Both calls fail if that end is gone already; then the other direction fails too.
    if copied.is_err() {
        shared.broken.store(true, Ordering::SeqCst);
        // The other direction reads from this socket, so it ends too.
        let _ = to.shutdown(Shutdown::Read);
    } else if !shared.broken.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
    copied
}

fn copy_data(mut from: impl Read, to: &mut impl Write, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let received = shared.repeat(|| from.read(&mut buffer))?;
        if received == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..received];
        while !rest.is_empty() {
            let sent = shared.repeat(|| to.write(rest))?;
            rest = &rest[sent..];
        }
    }
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let address = options.address.clone();
    let server = builder
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .shutdown_timeout(options.drain)
        .bind_fn(address, move |request| relay(request, &options))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = options().unwrap_or_else(|error| {
        eprintln!("relay: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    let served = match options.green {
        false => serve(ThreadingTcpServer::builder(), options),
        #[cfg(feature = "green")]
        true => serve(GreenTcpServer::builder(), options),
        #[cfg(not(feature = "green"))]
        true => Err(io::Error::other(
            "--green needs a build with `--features green`",
        )),
    };
    if let Err(error) = served {
        eprintln!("relay: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
