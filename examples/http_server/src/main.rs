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
//! the limits of connections, and the health checks for a load balancer.
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
mod options;
mod page;
mod range;
mod request;
mod response;
mod root;
mod status;
mod target;

use std::io::{self, LineWriter};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::health;
use socketserver::listener::Tcp;
use socketserver::prelude::*;
#[cfg(feature = "proxy-protocol")]
use socketserver::proxy_protocol::ProxyProtocol;
#[cfg(feature = "tls")]
use socketserver::tls::TlsConfig;
use socketserver::{Builder, Dispatch};

use crate::access_log::AccessLog;
use crate::head::Refusal;
use crate::log_entry::Entry;
use crate::options::Options;
use crate::response::{Delivery, Response};
use crate::root::Root;

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
    let (response, mut delivery) = match &asked {
        Ok(asked) => (answer::to(asked, &site.root), Delivery::of(asked)),
        Err(status) => (Response::error(*status), Delivery::LAST),
    };
    if request.server.is_shutting_down() && !request.has_data() {
        delivery.keep_alive = false;
    }
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
    let builder = with_tls(builder, &options)?;
    let builder = builder
        .disable_nagle_algorithm(true)
        // A header and a short file are sent together.
        .wbufsize(16_384)
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .idle_timeout(Duration::from_secs(options.idle_timeout))
        .write_timeout(Duration::from_secs(30))
        .drain_delay(options.drain_delay);
    let handle = move |request: &mut StreamRequest| answer(&site, request);
    let server = match name_from_systemd(&options.address) {
        Some(name) => builder.adopt_fn(socket(name)?, handle)?,
        None => builder.bind_fn(&*options.address, handle)?,
    };
    #[cfg(feature = "systemd")]
    server.notify_systemd()?;
    let checks = (options.agent.clone(), options.health.clone());
    act_on_signals(&server, options)?;
    if checks.0.is_some() || checks.1.is_some() {
        return serve_with_checks(server, checks.0, checks.1);
    }
    server.shutdown_on_ctrlc()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

/// Serves it with its health checks in one group.
fn serve_with_checks<D: Dispatch>(
    server: Server<Tcp, D>,
    agent: Option<String>,
    health: Option<String>,
) -> io::Result<()> {
    let mut group = ServerGroup::new();
    let main = group.add(server);
    let mut checks = Vec::new();
    if let Some(address) = agent {
        let main = main.clone();
        let check = health::agent(move || main.is_ready());
        checks.push(group.add(ThreadingTcpServer::bind_fn(address, check)?));
    }
    if let Some(address) = health {
        let main = main.clone();
        let check = health::http(move || main.is_ready());
        checks.push(group.add(ThreadingTcpServer::bind_fn(address, check)?));
    }
    group.shutdown_on_ctrlc()?;
    println!("listening on {}", main.server_address());
    for check in checks {
        println!("health checks on {}", check.server_address());
    }
    group.serve_forever()
}

/// The name in `systemd:NAME`, or none in `systemd`. `None` for every other address.
fn name_from_systemd(address: &str) -> Option<Option<&str>> {
    let rest = address.strip_prefix("systemd")?;
    match rest.strip_prefix(':') {
        Some(name) => Some(Some(name)),
        None => rest.is_empty().then_some(None),
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

fn with_tls<D>(builder: Builder<Tcp, D>, options: &Options) -> io::Result<Builder<Tcp, D>> {
    #[cfg(feature = "tls")]
    return Ok(builder.tls(tls(options)?));
    #[cfg(not(feature = "tls"))]
    match (&options.tls_cert, &options.tls_key, &options.tls_client_ca) {
        (None, None, None) => Ok(builder),
        _ => Err(io::Error::other(
            "--tls-cert needs a build with `--features tls`",
        )),
    }
}

#[cfg(feature = "tls")]
fn tls(options: &Options) -> io::Result<Option<TlsConfig>> {
    let (Some(certificate), Some(key)) = (&options.tls_cert, &options.tls_key) else {
        return Ok(None);
    };
    let mut config = TlsConfig::builder()
        .certificate(certificate, key)
        .alpn(["http/1.1"]);
    if let Some(authorities) = &options.tls_client_ca {
        config = config.client_ca(authorities);
    }
    config.build().map(Some)
}

/// SIGUSR2 restarts the server. SIGHUP reads the certificate again.
#[cfg(feature = "restart")]
fn act_on_signals<D: Dispatch>(server: &Server<Tcp, D>, options: Options) -> io::Result<()> {
    if options.restart {
        server.restart_on_sigusr2()?;
    }
    #[cfg(feature = "tls")]
    if options.tls_cert.is_some() {
        server.reload_on_sighup(move |server| {
            tls(&options)?.map_or(Ok(()), |config| server.reload_tls(config))
        })?;
    }
    Ok(())
}

#[cfg(not(feature = "restart"))]
fn act_on_signals<D: Dispatch>(_: &Server<Tcp, D>, options: Options) -> io::Result<()> {
    match options.restart {
        false => Ok(()),
        true => Err(io::Error::other(
            "--restart needs a build with `--features restart`",
        )),
    }
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
