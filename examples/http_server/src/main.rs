//! Serves the files of a directory over HTTP/1.1, as `python3 -m http.server` does.
//!
//! ```text
//! cargo run --release -p http_server -- --directory examples
//! curl -i http://127.0.0.1:8000/
//! ```
//!
//! A folder is shown as its `index.html` or `index.htm`, otherwise as a list of its content. GET and
//! HEAD, single ranges, `If-Modified-Since`, keep-alive. Links are followed inside the directory only:
//! nothing outside it is served or listed.
//!
//! A request's header has at most 64 KiB and 100 fields and must arrive within 10 s. A client that reads
//! nothing of its response for 30 s is disconnected, and an idle one after `--idle-timeout`. `--help` lists
//! the limits of connections.

mod answer;
mod date;
mod document;
mod head;
mod listing;
mod page;
mod range;
mod request;
mod response;
mod root;
mod status;
mod target;

use std::fmt;
use std::io::{self, LineWriter};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
#[cfg(feature = "proxy-protocol")]
use socketserver::proxy_protocol::ProxyProtocol;
#[cfg(feature = "tls")]
use socketserver::tls::TlsConfig;
use socketserver::{Builder, Dispatch};

use crate::head::Refusal;
use crate::response::{Delivery, Response};
use crate::root::Root;

/// Serves the files of a directory over HTTP
#[derive(Parser)]
#[command(name = "http_server")]
struct Options {
    /// Where to listen; `systemd` or `systemd:NAME` takes a socket from systemd, which needs a build with
    /// `--features systemd`
    #[arg(default_value = "127.0.0.1:8000")]
    address: String,
    /// What to serve
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The most connections at once; others wait in the system's queue
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: NonZeroUsize,
    /// The most connections of one IPv4 address or IPv6 /64 network at once; more are closed
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    per_ip: Option<NonZeroUsize>,
    /// How long a connection may be idle between two requests
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_timeout: u64,
    /// Serve many connections on each thread; it needs a build with `--features green`. Reading from a slow
    /// disk then holds up the other connections of the thread
    #[arg(long)]
    green: bool,
    /// `required`: each connection begins with a PROXY header, which names the client of a proxy; it needs a
    /// build with `--features proxy-protocol`
    #[arg(long, value_name = "MODE", default_value = "off", value_parser = ["off", "required"])]
    proxy_protocol: String,
    /// The networks of these proxies
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
    trusted_proxies: Vec<String>,
    /// A certificate and those that vouch for it, in PEM: the server speaks HTTPS; it needs a build with
    /// `--features tls`
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Only clients with a certificate of these authorities are served
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Log each request: the client's address, the request line and the status
    #[arg(long)]
    log_requests: bool,
    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "log_requests")]
    quiet: bool,
}

/// What is served, and how.
struct Site {
    root: Root,
    log_requests: bool,
}

impl Site {
    fn log(&self, request: &StreamRequest, what: fmt::Arguments<'_>) {
        if self.log_requests {
            log::info!("{} {what}", request.client_address);
        }
    }
}

/// Answers one connection's requests, one after the other.
fn answer(site: &Site, request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let (response, delivery) = match head::read(request) {
            Ok(asked) => {
                let response = answer::to(&asked, &site.root);
                site.log(request, format_args!("{asked} {}", response.status.0));
                (response, Delivery::of(&asked))
            }
            Err(Refusal::With(status)) => {
                site.log(request, format_args!("refused: {status}"));
                (Response::error(status), Delivery::LAST)
            }
            Err(Refusal::Disconnected(error)) => return Err(error.into()),
        };
        response.send(&mut request.wfile, delivery)?;
        if !delivery.keep_alive {
            break;
        }
    }
    Ok(())
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let site = Site {
        root: Root::open(&options.directory)?,
        log_requests: options.log_requests,
    };
    let builder = match &*options.proxy_protocol {
        "required" => behind_proxy(builder, &options.trusted_proxies)?,
        _ => builder,
    };
    let builder = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => with_tls(builder, certificate, key, &options)?,
        _ => builder,
    };
    let builder = builder
        .disable_nagle_algorithm(true)
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .idle_timeout(Duration::from_secs(options.idle_timeout))
        .write_timeout(Duration::from_secs(30));
    let handle = move |request: &mut StreamRequest| answer(&site, request);
    let server = match name_from_systemd(&options.address) {
        Some(name) => builder.adopt_fn(socket(name)?, handle)?,
        None => builder.bind_fn(options.address, handle)?,
    };
    server.shutdown_on_ctrlc()?;
    #[cfg(feature = "systemd")]
    server.notify_systemd()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

/// The name in `systemd:NAME`, or none in `systemd`. `None` for every other address.
fn name_from_systemd(address: &str) -> Option<Option<&str>> {
    match address.split_once(':') {
        None => (address == "systemd").then_some(None),
        Some((before, name)) => (before == "systemd").then_some(Some(name)),
    }
}

#[cfg(feature = "systemd")]
fn socket(name: Option<&str>) -> io::Result<Tcp> {
    socketserver::systemd::socket(name)
}

#[cfg(not(feature = "systemd"))]
fn socket(_: Option<&str>) -> io::Result<Tcp> {
    let text = "the address systemd needs a build with `--features systemd`";
    Err(io::Error::other(text))
}

#[cfg(feature = "proxy-protocol")]
fn behind_proxy<D>(builder: Builder<Tcp, D>, trusted: &[String]) -> io::Result<Builder<Tcp, D>> {
    Ok(builder.proxy_protocol(ProxyProtocol::required(trusted)?))
}

#[cfg(not(feature = "proxy-protocol"))]
fn behind_proxy<D>(_: Builder<Tcp, D>, _: &[String]) -> io::Result<Builder<Tcp, D>> {
    Err(io::Error::other(
        "--proxy-protocol needs a build with `--features proxy-protocol`",
    ))
}

#[cfg(feature = "tls")]
fn with_tls<D>(
    builder: Builder<Tcp, D>,
    certificate: &Path,
    key: &Path,
    options: &Options,
) -> io::Result<Builder<Tcp, D>> {
    let mut config = TlsConfig::builder()
        .certificate(certificate, key)
        .alpn(["http/1.1"]);
    if let Some(authorities) = &options.tls_client_ca {
        config = config.client_ca(authorities);
    }
    Ok(builder.tls(config.build()?))
}

#[cfg(not(feature = "tls"))]
fn with_tls<D>(
    _: Builder<Tcp, D>,
    _: &Path,
    _: &Path,
    options: &Options,
) -> io::Result<Builder<Tcp, D>> {
    let _ = &options.tls_client_ca;
    Err(io::Error::other(
        "--tls-cert needs a build with `--features tls`",
    ))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let level = if options.quiet {
        LevelFilter::Warn
    } else {
        LevelFilter::Info
    };
    // One write per line: with --log-requests there are many.
    let _ = WriteLogger::init(level, Config::default(), LineWriter::new(io::stderr()));
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
        eprintln!("http_server: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
