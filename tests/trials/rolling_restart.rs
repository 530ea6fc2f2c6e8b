//! Three `http_server`s behind a load balancer are replaced one after the other under load. No request fails.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{exclusive, shared};

use support::example::Example;
use support::program::installed;
use support::proxy::{Proxy, free_address};
use support::{eventually, join_soon, read_all, set_timeouts};

const SERVERS: usize = 3;
/// What each client asks for.
const TEXT: &str = "The same for each server.\n";

#[test]
fn behind_haproxy() {
    let _exclusive = exclusive();
    restart_all(haproxy, 1, 1000);
}

#[test]
fn behind_nginx() {
    let _shared = shared();
    restart_all(nginx, 1, 1000);
}

#[test]
#[ignore = "takes minutes"]
fn behind_haproxy_at_full_size() {
    let _exclusive = exclusive();
    restart_all(haproxy, 5, 100_000);
}

#[test]
#[ignore = "takes minutes"]
fn behind_nginx_at_full_size() {
    let _exclusive = exclusive();
    restart_all(nginx, 5, 100_000);
}

/// A load balancer in front of the servers, and how to see that it sends clients to a server.
struct Balancer {
    proxy: Proxy,
    is_up: fn(&Proxy, &Server) -> bool,
    servers: Vec<Server>,
}

fn restart_all(balance: fn() -> Balancer, rounds: usize, least: u64) {
    let mut balancer = balance();
    balancer.wait_until_up();
    let load = Load::start(balancer.proxy.address);
    let started = Instant::now();
    for number in 0..rounds * SERVERS {
        balancer.servers[number % SERVERS].restart();
        balancer.wait_until_up();
    }
    let took = started.elapsed();
    // Until there were enough requests.
    thread::sleep(Duration::from_secs(1));
    let seen = load.stop();
    println!(
        "{} restarts in {took:.1?}: {} requests of wrk, {} of clients that check the answers; failed: {} and {:?}",
        rounds * SERVERS,
        seen.wrk,
        seen.checked,
        seen.wrk_errors,
        seen.failures
    );
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    assert!(seen.wrk_errors.is_empty(), "{}", seen.wrk_errors);
    assert!(seen.checked > 0 && seen.wrk + seen.checked >= least);
}

impl Balancer {
    fn wait_until_up(&self) {
        for server in &self.servers {
            eventually("the load balancer uses the server", || {
                (self.is_up)(&self.proxy, server)
            });
        }
    }
}

/// One server program, which has the same addresses each time.
struct Server {
    options: Vec<String>,
    address: SocketAddr,
    agent: SocketAddr,
    running: Option<Example>,
    folder: TempDir,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let written = fs::write(folder.path().join("text"), TEXT);
        written.expect("the temporary folder is writable");
        let mut server = Server {
            options: options.iter().map(ToString::to_string).collect(),
            address: free_address(),
            agent: free_address(),
            running: None,
            folder,
        };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let (address, agent) = (self.address.to_string(), self.agent.to_string());
        let folder = self.folder.path().to_str().expect("the path is text");
        let mut options = vec![
            "--quiet",
            "--directory",
            folder,
            "--agent",
            &agent,
            &address,
        ];
        options.extend(self.options.iter().map(String::as_str));
        self.running = Some(Example::start("http_server", &options));
    }

    fn restart(&mut self) {
        let old = self.running.take().expect("it runs");
        old.signal(Signal::SIGTERM);
        let (status, _, log) = old.finish();
        assert!(status.success(), "{log}");
        assert!(!log.contains("by force"), "{log}");
        self.launch();
    }
}

/// The configuration that users copy, with other addresses and a socket for its state.
fn haproxy() -> Balancer {
    let options = "--proxy-protocol required --trusted-proxies 127.0.0.0/8 --drain-delay 3";
    let options: Vec<_> = options.split(' ').collect();
    let servers: Vec<_> = (0..SERVERS).map(|_| Server::start(&options)).collect();
    let mut command = installed("haproxy", "-v");
    command.args(["-db", "-q", "-f", "haproxy.cfg"]);
    let proxy = Proxy::start(command, "haproxy.cfg", |address| {
        let mut text = deployed("haproxy.cfg").replace("127.0.0.1:8080", &address.to_string());
        for (number, server) in (1..).zip(&servers) {
            let agent = server.agent;
            let agent_port = format!("agent-addr {} agent-port {}", agent.ip(), agent.port());
            text = text
                .replace(
                    &format!("127.0.0.1:800{number}"),
                    &server.address.to_string(),
                )
                .replace(&format!("agent-port 900{number}"), &agent_port);
        }
        text.replace("global\n", "global\n    stats socket unix@state\n")
    });
    Balancer {
        proxy,
        is_up: is_up_at_haproxy,
        servers,
    }
}

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    fs::read_to_string(path.join(name)).expect("it is in the repository")
}

fn is_up_at_haproxy(proxy: &Proxy, server: &Server) -> bool {
    let mut socket = UnixStream::connect(proxy.folder.path().join("state")).expect("it listens");
    socket.write_all(b"show stat\n").expect("HAProxy reads");
    let state = read_all(&mut socket);
    let (name, address) = ("servers,web", server.address.to_string());
    let line = state
        .lines()
        .find(|line| line.starts_with(name) && line.split(',').any(|field| field == address));
    line.is_some_and(|line| line.split(',').nth(17) == Some("UP"))
}

/// The open-source version has no health checks: it tries another server after an error.
fn nginx() -> Balancer {
    let servers: Vec<_> = (0..SERVERS)
        .map(|_| Server::start(&["--drain-delay", "3"]))
        .collect();
    let mut command = installed("nginx", "-v");
    command.args(["-p", ".", "-e", "stderr", "-c", "nginx.conf"]);
    let proxy = Proxy::start(command, "nginx.conf", |address| {
        let mut text = deployed("nginx.conf").replace("127.0.0.1:8080", &address.to_string());
        for (number, server) in (1..).zip(&servers) {
            text = text.replace(
                &format!("127.0.0.1:800{number}"),
                &server.address.to_string(),
            );
        }
        let text = text.replace("http {", "http {\naccess_log off;\n");
        format!("daemon off; master_process off; pid nginx.pid; error_log stderr crit;\n{text}")
    });
    Balancer {
        proxy,
        is_up: |_, server| TcpStream::connect(server.address).is_ok(),
        servers,
    }
}

/// `wrk`, and clients that check each answer.
struct Load {
    wrk: Child,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

#[derive(Default)]
struct Seen {
    wrk: u64,
    wrk_errors: String,
    checked: u64,
    failures: Vec<String>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut wrk = installed("wrk", "-v");
        wrk.args(["-t1", "-c16", "-d3600", "--timeout", "20"]);
        wrk.arg(format!("http://{address}/text"));
        let wrk = wrk.stdout(Stdio::piped()).spawn().expect("it is installed");
        let stop = Arc::new(AtomicBool::new(false));
        let client = |pause| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || ask_until(&stop, address, Duration::from_millis(pause)))
        };
        let clients = [0, 0, 10, 100].map(client).into();
        Load { wrk, stop, clients }
    }

    fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut seen = Seen::default();
        for client in self.clients {
            let other = join_soon(client);
            seen.checked += other.checked;
            seen.failures.extend(other.failures);
        }
        let pid = i32::try_from(self.wrk.id()).expect("a pid fits into an i32");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
        let output = read_all(self.wrk.stdout.as_mut().expect("it is piped"));
        self.wrk.wait().expect("it ends");
        let summary = output.lines().map(str::trim);
        let requests = summary
            .clone()
            .find_map(|line| line.split_once(" requests in "));
        seen.wrk = requests.map_or(0, |(number, _)| number.parse().expect("a number"));
        let is_error =
            |line: &&str| line.starts_with("Socket errors") || line.starts_with("Non-2xx");
        seen.wrk_errors = summary.filter(is_error).collect();
        seen
    }
}

fn ask_until(stop: &AtomicBool, address: SocketAddr, pause: Duration) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    while !stop.load(Ordering::SeqCst) {
        match ask(connection.take(), address) {
            Ok(open) => {
                seen.checked += 1;
                connection = open;
            }
            Err(error) => seen.failures.push(error),
        }
        thread::sleep(pause);
    }
    seen
}

/// One request. Returns the connection if it stays open.
fn ask(
    connection: Option<BufReader<TcpStream>>,
    address: SocketAddr,
) -> Result<Option<BufReader<TcpStream>>, String> {
    let failed = |what: &str| format!("{what} at {:?}", std::time::SystemTime::now());
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(address).map_err(|e| failed(&e.to_string()))?;
            set_timeouts(&stream);
            BufReader::new(stream)
        }
    };
    let sent = connection
        .get_mut()
        .write_all(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n");
    sent.map_err(|e| failed(&e.to_string()))?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match connection.read_line(&mut head) {
            Ok(1..) => {}
            end => return Err(failed(&format!("{end:?} after {head:?}"))),
        }
    }
    let mut body = [0; TEXT.len()];
    let read = connection.read_exact(&mut body);
    read.map_err(|e| failed(&e.to_string()))?;
    if !head.starts_with("HTTP/1.1 200 ") || body != TEXT.as_bytes() {
        return Err(failed(&head));
    }
    let closes = head.to_ascii_lowercase().contains("\r\nconnection: close");
    Ok((!closes).then_some(connection))
}
