//! Answers DNS queries about one zone, over UDP and TCP at once.
//!
//! ```text
//! cargo run --release -p dns_server -- --zone examples/dns_server/example.zone
//! dig @127.0.0.1 -p 5353 www.example.com
//! ```
//!
//! The zone is a standard master file (RFC 1035, section 5), in which times may have units, as `1h30m`.
//! The server is authoritative for that zone and for nothing else: it does not ask other servers.
//! Wildcards and delegations work; there are no zone transfers and no DNSSEC.

mod entry;
mod lookup;
mod master_file;
mod record;
mod reply;
mod times;
mod zone;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;

use self::zone::Zone;

/// Over TCP each message follows its length of 2 bytes.
const MESSAGES: Framing = Framing::new(Prefix::U16);

/// The idle timeout and the write timeout of a TCP connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The limit of a TCP connection: it also ends clients that send a byte now and then.
const MAX_LIFETIME: Duration = Duration::from_secs(120);

/// Answers DNS queries about one zone
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:5353")]
    address: String,
    /// The zone's master file
    #[arg(long, value_name = "FILE")]
    zone: PathBuf,
    /// The origin of relative names in it, up to its first $ORIGIN [default: none]
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
}

#[derive(Clone)]
struct Resolver {
    zone: Arc<Zone>,
}

impl RequestHandler<DatagramRequest> for Resolver {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        if let Some(reply) = reply::over_udp(&self.zone, &request.packet)? {
            request.wfile = reply;
        }
        Ok(())
    }
}

impl RequestHandler<StreamRequest> for Resolver {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut query = Vec::new();
        while request.wait_for_data()? && MESSAGES.read_into(&mut request.rfile, &mut query)? {
            let Some(reply) = reply::over_tcp(&self.zone, &query)? else {
                break;
            };
            MESSAGES.write(&mut request.wfile, &reply)?;
        }
        Ok(())
    }
}

fn serve(options: Options) -> io::Result<()> {
    let zone = Zone::load(&options.zone, options.origin.as_deref())?;
    let resolver = Resolver {
        zone: Arc::new(zone),
    };
    let (tcp, udp) = ServerGroup::same_port(
        || bind_tcp(&options.address, &resolver),
        |address| bind_udp(address, &resolver),
    )?;
    let mut group = ServerGroup::new();
    let tcp = group.add(tcp);
    group.add(udp);
    group.shutdown_on_ctrlc()?;
    println!("listening on {}", tcp.server_address());
    group.serve_forever()
}

fn bind_tcp(address: &str, resolver: &Resolver) -> io::Result<ThreadingTcpServer> {
    let resolver = resolver.clone();
    ThreadingTcpServer::builder()
        .disable_nagle_algorithm(true)
        .max_threads(256)
        .idle_timeout(TIMEOUT)
        .write_timeout(TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
        .bind(address, move || resolver.clone())
}

/// One thread is enough: an answer is a lookup in memory.
fn bind_udp(address: &Address, resolver: &Resolver) -> io::Result<UdpServer> {
    let resolver = resolver.clone();
    UdpServer::bind(address, move || resolver.clone())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    if let Err(error) = serve(options) {
        eprintln!("dns_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
