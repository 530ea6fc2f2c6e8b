//! Sends back all that it receives, over TCP or a Unix socket, to one client at a time or to many.
//!
//! ```text
//! cargo run --release --example echo_server
//! echo hello | nc -w 1 127.0.0.1 10000
//! ```
//!
//! `--help` lists its limits and timeouts, and which features add options. For a server with
//! a single kind and no options see the README, or `upper_server`.

use std::io::{self, LineWriter};
use std::os::fd::OwnedFd;
use std::process::{self, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;
use simplelog::{Config, LevelFilter, WriteLogger};
#[cfg(feature = "green")]
use socketserver::dispatch::Green;
use socketserver::listener::Bind;
use socketserver::prelude::*;
#[cfg(feature = "proxy-protocol")]
use socketserver::proxy_protocol::ProxyProtocol;
#[cfg(feature = "systemd")]
use socketserver::systemd;
#[cfg(feature = "tls")]
use socketserver::tls::TlsConfig;
use socketserver::{Builder, Dispatch};

const HELP: &str = "\
Sends back all that it receives

Usage: echo_server [OPTIONS] [ADDRESS]

  [ADDRESS]                  Where to listen; for the Unix kinds a path. `systemd` or
                             `systemd:NAME` takes a socket from systemd, with the feature
                             `systemd`
                             [default: 127.0.0.1:10000]
  --server <KIND>            tcp and unix-stream serve one client at a time, threading-tcp and
                             threading-unix-stream many, each on a thread; with the feature
                             `green` also green-tcp and green-unix-stream, many on each thread;
                             with `fork` also forking-tcp and forking-unix-stream, each in a
                             process
                             [default: threading-tcp]
  --max-threads <N>          The most threads, for the threading kinds [default: 4096]
  --max-children <N>         The most processes, for the forking kinds; with the feature `fork`
                             [default: 40]
  --workers <N>              The threads of the green kinds; with the feature `green`
                             [default: as many as the machine has cores]
  --stack-size <BYTES>       The stack of each connection, for the green kinds; with the feature
                             `green` [default: 262144]
  --max-connections <N>      The most connections at once [default: no limit but that of the
                             threads or processes]
  --overload <POLICY>        What happens to connections above the limit: wait (in the system's
                             queue) or reject (they read `server busy`); without threads they
                             always wait [default: wait]
  --per-ip <N>               The most connections of one IPv4 address or IPv6 /64 network at
                             once; more are rejected [default: no limit]
  --read-timeout <SECONDS>   How long each read may wait [default: no limit]
  --idle-timeout <SECONDS>   How long a client may stay without sending anything
                             [default: 300]
  --write-timeout <SECONDS>  How long a client may read nothing of what it is sent
                             [default: 30]
  --deadline <SECONDS>       How long a connection may last in total [default: no limit]
  --drain-delay <SECONDS>    How long it still accepts after Ctrl-C or SIGTERM; each connection ends
                             after its next message [default: 0]
  --drain <SECONDS>          How long clients may finish after Ctrl-C or SIGTERM [default: 30]
  --proxy-protocol <MODE>    required: each connection begins with a PROXY header, which names the
                             client of a proxy; with the feature `proxy-protocol` [default: off]
  --trusted-proxies <CIDR,…> The networks of these proxies, and for the Unix kinds `unix`; with
                             the feature `proxy-protocol`
  --tls-cert <FILE>          A certificate and those that vouch for it, in PEM: the server speaks
                             TLS; with the feature `tls`
  --tls-key <FILE>           The private key of the certificate; with the feature `tls`
  --tls-client-ca <FILE>     Only clients with a certificate of these authorities are served; with
                             the feature `tls`
  --restart                  On SIGUSR2 a new process of this program takes over: no client is
                             refused, and open connections end after their next message; with
                             the feature `restart`
  --panic-on <TEXT>          Panic on reading TEXT, to show that other clients do not notice
  -h, --help                 Print this help
";

const NO_FORK: &str = "it needs a build with `--features fork`";
#[cfg(not(feature = "proxy-protocol"))]
const NO_PROXY: &str = "it needs a build with `--features proxy-protocol`";
#[cfg(not(feature = "systemd"))]
const NO_SYSTEMD: &str = "the address systemd needs a build with `--features systemd`";
#[cfg(not(feature = "tls"))]
const NO_TLS: &str = "it needs a build with `--features tls`";
#[cfg(not(feature = "restart"))]
const NO_RESTART: &str = "it needs a build with `--features restart`";
const NO_GREEN: &str = "it needs a build with `--features green`";

#[derive(Default)]
struct Options {
    address: Option<String>,
    server: Option<String>,
    max_threads: Option<usize>,
    #[cfg(feature = "fork")]
    max_children: Option<usize>,
    #[cfg(feature = "green")]
    workers: Option<usize>,
    #[cfg(feature = "green")]
    stack_size: Option<usize>,
    max_connections: Option<usize>,
    overload: OverloadPolicy,
    per_ip: Option<usize>,
    read_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    deadline: Option<Duration>,
    drain_delay: Duration,
    drain: Option<Duration>,
    #[cfg(feature = "proxy-protocol")]
    requires_proxy: bool,
    #[cfg(feature = "proxy-protocol")]
    trusted_proxies: String,
    #[cfg(feature = "tls")]
    tls_cert: Option<String>,
    #[cfg(feature = "tls")]
    tls_key: Option<String>,
    #[cfg(feature = "tls")]
    tls_client_ca: Option<String>,
    #[cfg(feature = "restart")]
    restart: bool,
    panic_on: Option<String>,
}

fn options() -> Result<Options, lexopt::Error> {
    let mut options = Options::default();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{HELP}");
                process::exit(0);
            }
            #[cfg(feature = "restart")]
            Long("restart") => options.restart = true,
            #[cfg(not(feature = "restart"))]
            Long("restart") => return Err(format!("--restart: {NO_RESTART}").into()),
            Long(name) if HELP.contains(&format!("  --{name} <")) => {
                let name = name.to_owned();
                let value = arguments.value()?.string()?;
                options
                    .set(&name, value)
                    .map_err(|e| format!("--{name}: {e}"))?;
            }
            Value(value) if options.address.is_none() => options.address = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "server" => self.server = Some(kind(value)?),
            "max-threads" => self.max_threads = Some(number(&value)?),
            #[cfg(feature = "fork")]
            "max-children" => self.max_children = Some(number(&value)?),
            #[cfg(feature = "green")]
            "workers" => self.workers = Some(number(&value)?),
            #[cfg(feature = "green")]
            "stack-size" => self.stack_size = Some(number(&value)?),
            "max-connections" => self.max_connections = Some(number(&value)?),
            "overload" => self.overload = policy(&value)?,
            "per-ip" => self.per_ip = Some(number(&value)?),
            "read-timeout" => self.read_timeout = Some(timeout(&value)?),
            "idle-timeout" => self.idle_timeout = Some(timeout(&value)?),
            "write-timeout" => self.write_timeout = Some(timeout(&value)?),
            "deadline" => self.deadline = Some(timeout(&value)?),
            "drain-delay" => self.drain_delay = seconds(&value)?,
            "drain" => self.drain = Some(seconds(&value)?),
            "panic-on" => self.panic_on = Some(value),
            #[cfg(feature = "proxy-protocol")]
            "proxy-protocol" => self.requires_proxy = is_required(&value)?,
            #[cfg(feature = "proxy-protocol")]
            "trusted-proxies" => self.trusted_proxies = value,
            #[cfg(not(feature = "proxy-protocol"))]
            "proxy-protocol" | "trusted-proxies" => return Err(NO_PROXY.to_owned()),
            #[cfg(feature = "tls")]
            "tls-cert" => self.tls_cert = Some(value),
            #[cfg(feature = "tls")]
            "tls-key" => self.tls_key = Some(value),
            #[cfg(feature = "tls")]
            "tls-client-ca" => self.tls_client_ca = Some(value),
            #[cfg(not(feature = "tls"))]
            "tls-cert" | "tls-key" | "tls-client-ca" => return Err(NO_TLS.to_owned()),
            #[cfg(not(feature = "fork"))]
            "max-children" => return Err(NO_FORK.to_owned()),
            _ => return Err(NO_GREEN.to_owned()),
        }
        Ok(())
    }
}

/// A kind of server that this build has.
fn kind(name: String) -> Result<String, String> {
    match &*name {
        "tcp" | "threading-tcp" | "unix-stream" | "threading-unix-stream" => Ok(name),
        "forking-tcp" | "forking-unix-stream" if cfg!(feature = "fork") => Ok(name),
        "forking-tcp" | "forking-unix-stream" => Err(NO_FORK.to_owned()),
        "green-tcp" | "green-unix-stream" if cfg!(feature = "green") => Ok(name),
        "green-tcp" | "green-unix-stream" => Err(NO_GREEN.to_owned()),
        _ => Err(format!("{name:?} is not a kind of server")),
    }
}

fn policy(name: &str) -> Result<OverloadPolicy, String> {
    match name {
        "wait" => Ok(OverloadPolicy::Wait),
        "reject" => Ok(OverloadPolicy::Reject),
        _ => Err(format!("{name:?} is neither wait nor reject")),
    }
}

#[cfg(feature = "proxy-protocol")]
fn is_required(mode: &str) -> Result<bool, String> {
    match mode {
        "off" => Ok(false),
        "required" => Ok(true),
        _ => Err(format!("{mode:?} is neither off nor required")),
    }
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is not a whole number above 0"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("{text:?} is not a number of seconds"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = seconds(text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("{text:?} is not a number of seconds above 0"))
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
    L: Bind<String, Request = StreamRequest> + From<OwnedFd>,
    D: Dispatch,
{
    #[cfg(feature = "proxy-protocol")]
    let builder = match options.requires_proxy {
        true => {
            let trusted = options.trusted_proxies.split_terminator(',');
            builder.proxy_protocol(ProxyProtocol::required(trusted)?)
        }
        false => builder,
    };
    #[cfg(feature = "tls")]
    let builder = builder.tls(tls(&options)?);
    let address = options.address.clone();
    let address = address.unwrap_or("127.0.0.1:10000".to_owned());
    let panic_on = options.panic_on.clone();
    let handle = move |request: &mut StreamRequest| echo(request, panic_on.as_deref());
    let builder = builder
        .disable_nagle_algorithm(true)
        .hooks(Busy)
        .max_connections(options.max_connections)
        .max_per_ip(options.per_ip)
        .overload(options.overload)
        .read_timeout(options.read_timeout)
        .idle_timeout(options.idle_timeout.unwrap_or(Duration::from_secs(300)))
        .write_timeout(options.write_timeout.unwrap_or(Duration::from_secs(30)))
        .max_lifetime(options.deadline)
        .drain_delay(options.drain_delay)
        .shutdown_timeout(options.drain.unwrap_or(Duration::from_secs(30)));
    let server = match name_from_systemd(&address) {
        Some(name) => builder.adopt_fn(socket::<L>(name)?, handle)?,
        None => builder.bind_fn(address, handle)?,
    };
    server.shutdown_on_ctrlc()?;
    #[cfg(feature = "restart")]
    act_on_signals(&server, options)?;
    #[cfg(feature = "systemd")]
    server.notify_systemd()?;
    println!("listening on {}", server.server_address());
    server.serve_forever()
}

/// SIGUSR2 restarts the server. SIGHUP reads the certificate again.
#[cfg(feature = "restart")]
fn act_on_signals<L, D>(server: &Server<L, D>, options: Options) -> io::Result<()>
where
    L: Bind<String, Request = StreamRequest>,
    D: Dispatch,
{
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

/// The name in `systemd:NAME`, or none in `systemd`. `None` for every other address.
fn name_from_systemd(address: &str) -> Option<Option<&str>> {
    let rest = address.strip_prefix("systemd")?;
    match rest.strip_prefix(':') {
        Some(name) => Some(Some(name)),
        None => rest.is_empty().then_some(None),
    }
}

#[cfg(feature = "systemd")]
fn socket<L: Bind<String> + From<OwnedFd>>(name: Option<&str>) -> io::Result<L> {
    systemd::socket(name)
}

#[cfg(not(feature = "systemd"))]
fn socket<L>(_: Option<&str>) -> io::Result<L> {
    Err(io::Error::other(NO_SYSTEMD))
}

#[cfg(feature = "tls")]
fn tls(options: &Options) -> io::Result<Option<TlsConfig>> {
    let (certificate, key) = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        _ => return Err(io::Error::other("--tls-cert and --tls-key need each other")),
    };
    let mut config = TlsConfig::builder().certificate(certificate, key);
    if let Some(authorities) = &options.tls_client_ca {
        config = config.client_ca(authorities);
    }
    config.build().map(Some)
}

fn run(options: Options) -> io::Result<()> {
    let threads = options.max_threads.unwrap_or(4096);
    let tcp = ThreadingTcpServer::builder().max_threads(threads);
    let unix = ThreadingUnixStreamServer::builder().max_threads(threads);
    #[cfg(feature = "fork")]
    let children = options.max_children.unwrap_or(40);
    #[cfg(feature = "green")]
    let green = green(&options);
    match options.server.as_deref() {
        Some("tcp") => serve(TcpServer::builder(), options),
        Some("unix-stream") => serve(UnixStreamServer::builder(), options),
        Some("threading-unix-stream") => serve(unix, options),
        #[cfg(feature = "green")]
        Some("green-tcp") => serve(GreenTcpServer::builder().dispatch(green), options),
        #[cfg(feature = "green")]
        Some("green-unix-stream") => {
            serve(GreenUnixStreamServer::builder().dispatch(green), options)
        }
        #[cfg(feature = "fork")]
        Some("forking-tcp") => serve(ForkingTcpServer::builder().max_children(children), options),
        #[cfg(feature = "fork")]
        Some("forking-unix-stream") => serve(
            ForkingUnixStreamServer::builder().max_children(children),
            options,
        ),
        _ => serve(tcp, options),
    }
}

#[cfg(feature = "green")]
fn green(options: &Options) -> Green {
    let mut green = Green::new();
    if let Some(workers) = options.workers {
        green = green.workers(workers);
    }
    if let Some(bytes) = options.stack_size {
        green = green.stack_size(bytes);
    }
    green
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
