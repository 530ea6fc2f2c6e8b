//! A server at its descriptor limit backs off, logs at a limited rate, and serves all clients in
//! the end.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use support::example::{self, Example};
use support::process::cpu_ticks;
use support::{ANY, connect, eventually};

const LIMIT: usize = 64;

fn limited(name: &str) -> Example {
    let server = example::command(name, &[ANY]);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\""))
        .arg(server.get_program())
        .args(server.get_args());
    Example::launch(shell)
}

/// A client that has sent its name, and waits until it is served.
struct Client {
    stream: TcpStream,
    name: String,
}

impl Client {
    fn connect_next(server: &Example, number: usize) -> Self {
        let address: SocketAddr = server
            .address
            .parse()
            .expect("the address is an IP address");
        let mut stream = connect(&address.into());
        let name = format!("client {number:04}");
        stream
            .write_all(name.as_bytes())
            .expect("the kernel buffers it");
        Client { stream, name }
    }

    fn expect_answer(&mut self) {
        let mut answer = vec![0; self.name.len()];
        let read = self.stream.read_exact(&mut answer);
        read.unwrap_or_else(|e| panic!("{} is not served: {e}", self.name));
        assert_eq!(answer, self.name.as_bytes());
    }
}

/// Connects more clients than the server has descriptors, and waits until the server is at its
/// limit.
fn many(server: &Example) -> VecDeque<Client> {
    let clients = (0..LIMIT + 36).map(|number| Client::connect_next(server, number));
    let clients = clients.collect();
    eventually("the server is at its limit", || {
        (0..LIMIT).all(|number| is_open(server, number))
    });
    clients
}

fn is_open(server: &Example, descriptor: usize) -> bool {
    let link = format!("/proc/{}/fd/{descriptor}", server.pid());
    fs::symlink_metadata(link).is_ok()
}

/// The number of log lines about the limit.
fn lines_about_accepting(server: Example) -> usize {
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("cannot accept"), "{log}");
    log.matches("accept").count()
}

#[test]
fn a_server_at_its_descriptor_limit_uses_no_processor_time() {
    let server = limited("echo_server");
    let _clients = many(&server);
    let before = cpu_ticks(server.pid());
    thread::sleep(Duration::from_secs(2));
    let used = cpu_ticks(server.pid()) - before;
    assert!(used < 10, "{used} of 200 ticks of processor time");
}

#[test]
fn waiting_clients_are_served_when_others_close() {
    let server = limited("echo_server");
    let mut clients = many(&server);
    // The server itself needs some descriptors. Later clients wait.
    let mut first: Vec<_> = clients.drain(..LIMIT / 2).collect();
    first.iter_mut().for_each(Client::expect_answer);
    drop(first);
    while let Some(mut next) = clients.pop_front() {
        next.expect_answer();
    }
}

#[test]
fn the_log_grows_by_one_line_a_second_at_the_limit() {
    let server = limited("echo_server");
    let since = Instant::now();
    let clients = many(&server);
    thread::sleep(Duration::from_secs(2));
    drop(clients);
    let seconds = since.elapsed().as_secs() as usize;
    let lines = lines_about_accepting(server);
    // One more line at the beginning, and two at the end, when clients are accepted again.
    assert!(lines <= seconds + 4, "{lines} lines in {seconds} s");
}

#[test]

fn the_log_grows_no_faster_while_clients_close_and_connect_at_the_limit() {
    let server = limited("echo_server");
    let since = Instant::now();
    let mut clients = many(&server);
    // In each round one client closes and another connects, so the server accepts and backs off
    // again.
    for number in 1000.. {
        clients.push_back(Client::connect_next(&server, number));
        clients
            .pop_front()
            .expect("clients are waiting")
            .expect_answer();
        thread::sleep(Duration::from_millis(10));
        if since.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    drop(clients);
    let seconds = since.elapsed().as_secs() as usize;
    let lines = lines_about_accepting(server);
    assert!(lines <= seconds + 4, "{lines} lines in {seconds} s");
}

/// Connections that linger would take all descriptors, for five seconds each.
#[test]
fn lingering_connections_give_way_to_new_clients() {
    const CLIENTS: usize = 5 * LIMIT;
    let server = limited("upper_server");
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = Client::connect_next(&server, number);
            client.name = client.name.to_uppercase();
            client.expect_answer();
            client
        })
        .collect();
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{CLIENTS} clients"
    );
    drop(clients);
}
