//! Passes connections on to another address, byte for byte, both directions at once.
//!
//! ```text
//! python3 -m http.server 8000
//! cargo run --release --example relay -- 127.0.0.1:8000
//! curl http://127.0.0.1:8080/
//! ```
//!
//! Each end sees what the other does: its bytes, the end of its stream while the other direction
//! goes on, and a reset if it broke off. `TARGET` is looked up anew for each connection. There are
//! at most 1,024 at once; the next ones wait.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socket2::{SockRef, TcpKeepalive};
use socketserver::prelude::*;

/// Passes connections on to another address
#[derive(Parser)]
#[command(allow_missing_positional = true)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:8080")]
    address: String,
    /// Where to pass connections on to, HOST:PORT
    #[arg(value_parser = host_and_port)]
    target: String,
    /// How long Ctrl-C or SIGTERM lets connections finish
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    drain: u16,
}

fn host_and_port(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<NonZeroU16>().is_ok() => {
            Ok(text.into())
        }
        _ => Err("not HOST:PORT"),
    }
}

fn relay(request: &mut StreamRequest, target: &str) -> HandlerResult {
    let target = connect(target).map_err(|e| format!("cannot reach {target}: {e}"))?;
    prepare(&SockRef::from(&*request))?;
    prepare(&SockRef::from(&target))?;
    let broken = AtomicBool::new(false);
    let (mut rfile, wfile) = request.split();
    let ends = thread::scope(|scope| {
        let there = thread::Builder::new().spawn_scoped(scope, || pass(rfile, &target, &broken))?;
        let back = pass(&target, wfile, &broken);
        Ok::<_, io::Error>(there.join().expect("copying does not panic").and(back))
    })?;
    if let Err(error) = ends {
        log::info!("{} was broken off: {error}", request.client_address);
        // What was broken off must not look complete, so neither end sees an orderly end of the
        // stream.
        request.abort();
        SockRef::from(&target).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
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

/// An end may be silent for as long as it likes, but not gone.
fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))
}

/// One direction, until the stream ends or either end breaks off.
fn pass(from: impl Read, mut to: impl Write + AsFd, broken: &AtomicBool) -> io::Result<()> {
    let passed = io::copy(&mut BufReader::with_capacity(1 << 16, from), &mut to);
    let to = SockRef::from(&to);
    // Either fails if that end is gone, which is then known to the other direction.
    if passed.is_err() {
        broken.store(true, Ordering::SeqCst);
        // The other direction ends too, for this is what it reads from.
        let _ = to.shutdown(Shutdown::Read);
    } else if !broken.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Write);
    }
    passed.map(drop)
}

fn serve(options: Options) -> io::Result<()> {
    let target = options.target;
    let server = ThreadingTcpServer::builder()
        .allow_reuse_address(true)
        .max_threads(1024)
        .shutdown_timeout(Duration::from_secs(options.drain.into()))
        .bind_fn(options.address, move |request| relay(request, &target))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("relay: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
