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
//!
//! `--access-log FILE` logs each request in the common, the combined or a JSON format. For `logrotate` the setting
//! `delaycompress` is enough, because a file that was renamed is replaced within a second; `copytruncate` works
//! too:
//!
//! ```text
//! /var/log/http_server/access.log {
//!     daily
//!     rotate 14
//!     compress
//!     delaycompress
//! }
//! ```

mod access_log;
mod answer;
mod date;
mod document;
mod head;
mod listing;
mod log_entry;
mod page;
mod range;
mod request;
mod response;
mod root;
mod status;
mod target;

use std::io::{self, LineWriter};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
#[cfg(feature = "proxy-protocol")]
use socketserver::proxy_protocol::ProxyProtocol;
#[cfg(feature = "tls")]
use socketserver::tls::TlsConfig;
use socketserver::{Builder, Dispatch};

use crate::access_log::AccessLog;
use crate::head::Refusal;
use crate::log_entry::{Entry, Format};
use crate::response::{Delivery, Response};
use crate::root::Root;

/// Serves the files of a directory over HTTP
#[derive(Parser)]
#[command(name = "http_server")]
struct Options {
    /// Where to listen
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
    /// Where a line is appended for each request that was answered; `-` is the standard output. Dates are in
    /// UTC. What is not printable is escaped as in nginx, and a text is cut after 8192 bytes. A file that was
    /// renamed, as logrotate does it, is replaced by a new one within a second. While a pipe is not read, the
    /// server waits
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// The format of these lines
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "combined",
        requires = "access_log"
    )]
    log_format: Format,
    /// Log warnings and errors only, apart from the access log
    #[arg(short, long)]
    quiet: bool,
}

/// What is served, and where that is logged.
struct Site {
    root: Root,
    access_log: Option<AccessLog>,
}

/// Answers one connection's requests, one after the other.
fn answer(site: &Site, request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let stays_open = answer_one(site, request)?;
        if !stays_open {
            break;
        }
    }
    Ok(())
}

/// Answers the next request, and returns whether the connection stays open.
fn answer_one(site: &Site, request: &mut StreamRequest) -> io::Result<bool> {
    let begin = SystemTime::now();
    let asked = match head::read(request) {
        Ok(asked) => Ok(asked),
        Err(Refusal::With(status)) => Err(status),
        Err(Refusal::Disconnected(error)) => return Err(error),
    };
    let (response, delivery) = match &asked {
        Ok(asked) => (answer::to(asked, &site.root), Delivery::of(asked)),
        Err(status) => (Response::error(*status), Delivery::LAST),
    };
    let (status, mut body_bytes) = (response.status, 0);
    let sent = response.send(&mut request.wfile, delivery, &mut body_bytes);
    if let Some(log) = &site.access_log {
        log.write(&Entry {
            client: &request.client_address,
            request: asked.as_ref().map_err(|_| request.rfile.buffer()),
            begin,
            status,
            body_bytes,
        });
    }
    sent?;
    Ok(delivery.keep_alive)
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let access_log = options.access_log.as_deref();
    let access_log = access_log.map(|path| AccessLog::open(path, options.log_format));
    let site = Site {
        root: Root::open(&options.directory)?,
        access_log: access_log.transpose()?,
    };
    let builder = match &*options.proxy_protocol {
        "required" => behind_proxy(builder, &options.trusted_proxies)?,
        _ => builder,
    };
    let builder = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => with_tls(builder, certificate, key, &options)?,
        _ => builder,
    };
    let server = builder
        .disable_nagle_algorithm(true)
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .idle_timeout(Duration::from_secs(options.idle_timeout))
        .write_timeout(Duration::from_secs(30))
        .bind_fn(options.address, move |request| answer(&site, request))?;
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
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
    // One write per line.
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
