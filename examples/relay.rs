//! Passes connections on to another address, byte for byte, both directions at once.
//!
//! ```text
//! cargo run --release -p http_server
//! cargo run --release --example relay -- 127.0.0.1:8000
//! curl http://127.0.0.1:8080/
//! ```
//!
//! Each end receives what the other sends: its bytes, the end of its stream while the other direction
//! goes on, and a reset. The name in `TARGET` is resolved for each connection. There are at most 1,024
//! connections at once; others wait in the system's queue.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
use socket2::{SockRef, TcpKeepalive};
use socketserver::prelude::*;

const HELP: &str = "\
Passes connections on to another address

Usage: relay [OPTIONS] [ADDRESS] <TARGET>

  [ADDRESS]          Where to listen [default: 127.0.0.1:8080]
  <TARGET>           Where to pass connections on to, HOST:PORT
  --drain <SECONDS>  How long connections may finish after Ctrl-C or SIGTERM, in whole
                     seconds [default: 10]
  -h, --help         Print this help
";

/// The address, the target and the shutdown timeout on the command line.
fn options() -> Result<(String, String, Duration), lexopt::Error> {
    let (mut words, mut drain) = (Vec::new(), 10);
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
            Value(value) if words.len() < 2 => words.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let target = words.pop().ok_or("the TARGET is missing")?;
    if !is_host_and_port(&target) {
        return Err(format!("the TARGET {target:?} is not HOST:PORT").into());
    }
    let address = words.pop().unwrap_or("127.0.0.1:8080".to_owned());
    Ok((address, target, Duration::from_secs(drain.into())))
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<NonZeroU16>().is_ok())
}

fn relay(request: &mut StreamRequest, target: &str) -> HandlerResult {
    let target = connect(target).map_err(|e| format!("cannot reach {target}: {e}"))?;
    prepare(&SockRef::from(&*request))?;
    prepare(&SockRef::from(&target))?;
    // Until all is copied, its end is a reset: also if the program ends first.
    SockRef::from(&target).set_linger(Some(Duration::ZERO))?;
    let broken = AtomicBool::new(false);
    let (rfile, wfile) = request.split();
    let ends = thread::scope(|scope| {
        let there = thread::Builder::new().spawn_scoped(scope, || copy(rfile, &target, &broken))?;
        let back = copy(&target, wfile, &broken);
        Ok::<_, io::Error>(there.join().expect("copying does not panic").and(back))
    })?;
    if let Err(error) = ends {
        log::info!("{} was reset: {error}", request.client_address);
        // Neither end may take what it received for complete, so both get a reset.
        request.abort();
        return Ok(());
    }
    Ok(SockRef::from(&target).set_linger(None)?)
}

fn connect(target: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name has no address");
    for address in target.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(10)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// An end may be silent without limit; keepalive finds out when its machine is gone.
fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))
}

/// Copies one direction, until the stream ends or either end is reset.
fn copy(from: impl Read, mut to: impl Write + AsFd, broken: &AtomicBool) -> io::Result<()> {
    let copied = io::copy(&mut BufReader::with_capacity(1 << 16, from), &mut to);
    let to = SockRef::from(&to);
    // Both calls fail if that end is gone already; then the other direction fails too.
    if copied.is_err() {
        broken.store(true, Ordering::SeqCst);
        // The other direction reads from this socket, so it ends too.
        let _ = to.shutdown(Shutdown::Read);
    } else if !broken.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
    copied.map(drop)
}

fn serve(address: String, target: String, drain: Duration) -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .max_threads(1024)
        .shutdown_timeout(drain)
        .bind_fn(address, move |request| relay(request, &target))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let (address, target, drain) = options().unwrap_or_else(|error| {
        eprintln!("relay: {error} (see --help)");
        process::exit(2);
    });
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(address, target, drain) {
        eprintln!("relay: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
