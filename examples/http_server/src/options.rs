use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::log_entry::Format;

/// Serves the files of a directory over HTTP
#[derive(Parser)]
#[command(name = "http_server")]
pub struct Options {
    /// Where to listen; `systemd` or `systemd:NAME` takes a socket from systemd, which needs a build with
    /// `--features systemd`
    #[arg(default_value = "127.0.0.1:8000")]
    pub address: String,
    /// What to serve
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// The most connections at once; others wait in the system's queue
    #[arg(long, value_name = "N", default_value = "1024")]
    pub max_connections: NonZeroUsize,
    /// The most connections of one IPv4 address or IPv6 /64 network at once; more are closed
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    pub per_ip: Option<NonZeroUsize>,
    /// How long a connection may be idle between two requests
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle_timeout: u64,
    /// Serve many connections on each thread; it needs a build with `--features green`. Reading from a slow
    /// disk then holds up the other connections of the thread
    #[arg(long)]
    pub green: bool,
    /// `required`: each connection begins with a PROXY header, which names the client of a proxy; it needs a
    /// build with `--features proxy-protocol`
    #[arg(long, value_name = "MODE", default_value = "off", value_parser = ["off", "required"])]
    pub proxy_protocol: String,
    /// The networks of these proxies
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// A certificate and those that vouch for it, in PEM: the server speaks HTTPS; it needs a build with
    /// `--features tls`
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Only clients with a certificate of these authorities are served
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// On SIGUSR2 a new process of this program takes over: no client is refused, and open connections end after
    /// their next answer; it needs a build with `--features restart`, in which SIGHUP reads the certificate again
    #[arg(long)]
    pub restart: bool,
    /// How long the server still accepts after Ctrl-C or SIGTERM; meanwhile its health checks answer down
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub drain_delay: Duration,
    /// Where to answer HTTP health checks: 200 or 503
    #[arg(long, value_name = "ADDRESS")]
    pub health: Option<String>,
    /// Where to answer HAProxy's `agent-check`: up or down
    #[arg(long, value_name = "ADDRESS")]
    pub agent: Option<String>,
    /// Where a line is appended for each request that was answered; `-` is the standard output. Dates are in
    /// UTC. What is not printable is escaped as in nginx, and a text is cut after 8192 bytes. A file that was
    /// renamed, as logrotate does it, is replaced by a new one within a second. While a pipe is not read, the
    /// server waits
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// The format of these lines
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "combined",
        requires = "access_log"
    )]
    pub log_format: Format,
    /// Log warnings and errors only, apart from the access log
    #[arg(short, long)]
    pub quiet: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "it is not a number of seconds".to_owned())
}
