//! Sends back all that it receives, and shows the server's statistics: a table on a terminal, one line
//! per second in a file or pipe. With `--metrics` a Prometheus can read them.
//!
//! ```text
//! cargo run --release -p status -- --max-connections 100 --overload reject
//! cargo run --release -p status -- --green
//! echo hello | nc -w 1 127.0.0.1 10001
//!
//! cargo run --release -p status -- --metrics 127.0.0.1:10002
//! curl http://127.0.0.1:10002/metrics
//! ```
//!
//! A `prometheus.yml` that reads them, and shows `rate(socketserver_accepted_total[1m])` and the others at
//! <http://127.0.0.1:9090/>:
//!
//! ```text
//! scrape_configs:
//!   - job_name: status
//!     scrape_interval: 5s
//!     static_configs:
//!       - targets: ["127.0.0.1:10002"]
//! ```

mod exporter;
mod screen;
mod status;

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use simplelog::{Config, LevelFilter, WriteLogger};
use socketserver::listener::Tcp;
use socketserver::metrics::MetricsPublisher;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch, OverloadPolicy, RejectReason};

use screen::Screen;
use status::Watch;

/// How long a client may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may read nothing of what it is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the metrics are updated.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Sends back all that it receives, and shows the server's statistics. A client is disconnected when it
/// sends nothing for 5 minutes, or reads nothing for 30 seconds
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(default_value = "127.0.0.1:10001")]
    address: String,
    /// The most connections at once
    #[arg(long, value_name = "N", default_value = "1000")]
    max_connections: NonZeroUsize,
    /// What happens to connections above the limit
    #[arg(long, value_name = "POLICY", default_value = "wait")]
    overload: Policy,
    /// The most connections of one IPv4 address or IPv6 /64 network at once; more are rejected
    /// [default: no limit]
    #[arg(long, value_name = "N")]
    per_ip: Option<NonZeroUsize>,
    /// Serve on green tasks, many on each thread, and show what the oldest ones do
    #[arg(long)]
    green: bool,
    /// Where a Prometheus reads the metrics. All who can connect there can read them.
    ///
    /// Try it: curl http://ADDRESS/metrics
    ///
    /// In prometheus.yml: scrape_configs: [{job_name: status, static_configs: [{targets: ["ADDRESS"]}]}]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    /// They wait in the system's queue
    Wait,
    /// At most 1000 wait for at most 1 second, then they read "server busy"
    Queue,
    /// They read "server busy"
    Reject,
}

impl From<Policy> for OverloadPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Wait => OverloadPolicy::Wait,
            Policy::Queue => OverloadPolicy::Queue {
                length: 1000,
                timeout: Duration::from_secs(1),
            },
            Policy::Reject => OverloadPolicy::Reject,
        }
    }
}

struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(request.wfile.write_all(b"server busy\n")?)
    }
}

fn echo(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let data = request.rfile.fill_buf()?;
        request.wfile.write_all(data)?;
        let echoed = data.len();
        request.rfile.consume(echoed);
    }
    Ok(())
}

/// Shows the server's statistics every second, and once more when it has ended.
fn show(server: &ServerHandle, ended: &Receiver<()>) -> io::Result<()> {
    let (mut screen, mut watch) = (Screen::new(), Watch::new(server));
    loop {
        let wait = ended.recv_timeout(Duration::from_secs(1));
        screen.show(&watch.sample())?;
        if wait == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
    }
}

/// Publishes the metrics of both servers until the result is dropped.
fn publish(server: &ServerHandle, page: &ServerHandle) -> io::Result<[MetricsPublisher; 2]> {
    let publishers = [
        server.publish_metrics(METRICS_INTERVAL)?,
        page.publish_metrics(METRICS_INTERVAL)?,
    ];
    println!("metrics at http://{}/metrics", page.server_address());
    Ok(publishers)
}

fn run(options: Options) -> io::Result<()> {
    if options.green {
        serve(GreenTcpServer::builder(), options)
    } else {
        let threads = options.max_connections.get();
        serve(ThreadingTcpServer::builder().max_threads(threads), options)
    }
}

fn serve<D: Dispatch>(builder: Builder<Tcp, D>, options: Options) -> io::Result<()> {
    let server = builder
        .disable_nagle_algorithm(true)
        .hooks(Busy)
        .max_connections(options.max_connections.get())
        .max_per_ip(options.per_ip.map(NonZeroUsize::get))
        .overload(options.overload.into())
        .idle_timeout(IDLE_TIMEOUT)
        .write_timeout(WRITE_TIMEOUT)
        .bind_fn(options.address, echo)?;
    let mut group = ServerGroup::new();
    let handle = group.add(server);
    let page = options.metrics.map(|address| exporter::bind(&address));
    let page = page.transpose()?.map(|page| group.add(page));
    group.shutdown_on_ctrlc()?;
    println!("listening on {}", handle.server_address());
    let _publishers = page.map(|page| publish(&handle, &page)).transpose()?;
    let (end, ended) = channel();
    let shown = thread::spawn(move || {
        // The output is closed, so the server ends.
        show(&handle, &ended).inspect_err(|_| handle.shutdown())
    });
    group.serve_forever()?;
    // It waits for the running requests.
    drop(group);
    drop(end);
    shown.join().expect("showing statistics does not panic")
}

fn main() -> ExitCode {
    let options = Options::parse();
    // A log on the same terminal would overwrite the table.
    if !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        let _ = WriteLogger::init(LevelFilter::Info, Config::default(), io::stderr());
    }
    if let Err(error) = run(options) {
        eprintln!("status: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
