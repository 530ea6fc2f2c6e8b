//! Forking servers from outside: `echo_server` with a process for each client.
#![cfg(feature = "fork")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socketserver::Address;

use support::example::Example;
use support::{ANY, connect, connect_unix, eventually, read_all, socket_path};

fn start(arguments: &[&str]) -> (Example, Address) {
    let common = [ANY, "--server", "forking-tcp"];
    let server = Example::start("echo_server", &[&common, arguments].concat());
    let address: SocketAddr = server.address.parse().expect("an IP address");
    (server, address.into())
}

fn ask(stream: &mut (impl Read + Write), text: &str) {
    stream.write_all(text.as_bytes()).expect("the server reads");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, text.as_bytes());
}

/// The pids of a process' children, zombies included.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).expect("the process lives");
    let pids = text.split_whitespace();
    pids.map(|pid| pid.parse().expect("a number")).collect()
}

fn only_child(server: &Example) -> u32 {
    let children = children(server.pid());
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

/// What the descriptors of a process stand for.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

fn sockets(pid: u32) -> usize {
    let all = descriptors(pid);
    all.iter().filter(|one| one.starts_with("socket:")).count()
}

#[test]
fn each_client_has_a_process_of_its_own() {
    let (server, address) = start(&[]);
    let (mut one, mut other) = (connect(&address), connect(&address));
    ask(&mut one, "hello");
    ask(&mut other, "hello");
    let both = children(server.pid());
    assert_eq!(both.len(), 2);
    drop((one, other));
    eventually("both have ended, and are reaped", || {
        children(server.pid()).is_empty()
    });
}

#[test]
fn a_child_has_its_connection_only_and_the_server_its_listening_socket_only() {
    let (server, address) = start(&[]);
    let (mut one, mut other) = (connect(&address), connect(&address));
    ask(&mut one, "hello");
    ask(&mut other, "hello");
    for child in children(server.pid()) {
        assert_eq!(sockets(child), 1, "{:?}", descriptors(child));
    }
    eventually("the server has closed both", || sockets(server.pid()) == 1);
}

#[test]
fn the_client_sees_the_end_when_its_child_has_ended() {
    let (_server, address) = start(&[]);
    let mut client = connect(&address);
    ask(&mut client, "hello");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    assert_eq!(read_all(client), "");
}

#[test]
fn a_crash_ends_its_own_connection_only() {
    let (server, address) = start(&[]);
    let mut first = connect(&address);
    ask(&mut first, "hello");
    let child = only_child(&server);
    let mut other = connect(&address);
    ask(&mut other, "hello");
    let pid = Pid::from_raw(child.try_into().expect("a pid fits"));
    kill(pid, Signal::SIGABRT).expect("it lives");
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    ask(&mut other, "still here");
    ask(&mut connect(&address), "so am I");
    drop(other);
    eventually("all are reaped", || children(server.pid()).is_empty());
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains(&format!("process {child} was killed by SIGABRT")),
        "{log}"
    );
}

#[test]
fn a_panic_ends_its_own_child_only() {
    let (server, address) = start(&["--panic-on", "boom"]);
    let mut first = connect(&address);
    first.write_all(b"boom").expect("the server reads");
    assert_eq!(read_all(first), "");
    ask(&mut connect(&address), "hello");
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("handle failed: panicked"), "{log}");
}

#[test]
fn two_hundred_requests_never_have_more_than_forty_children() {
    let (server, address) = start(&[]);
    let clients: Vec<_> = (0..200).map(|_| connect(&address)).collect();
    let served = std::thread::scope(|scope| {
        let serve = |mut client: TcpStream| scope.spawn(move || ask(&mut client, "hello"));
        let threads: Vec<_> = clients.into_iter().map(serve).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            let there = children(server.pid()).len();
            assert!(there <= 40, "{there} children");
        }
        threads
            .into_iter()
            .map(|thread| thread.join())
            .filter(Result::is_ok)
            .count()
    });
    assert_eq!(served, 200);
    eventually("all are reaped", || children(server.pid()).is_empty());
}

#[test]
fn a_lower_max_children_holds_too() {
    let (server, address) = start(&["--max-children", "2"]);
    let mut clients: Vec<_> = (0..3).map(|_| connect(&address)).collect();
    let mut last = clients.pop().expect("there are three");
    clients.iter_mut().for_each(|client| ask(client, "hello"));
    last.write_all(b"hello").expect("it is buffered");
    assert_eq!(children(server.pid()).len(), 2);
    clients.pop();
    let mut answer = [0; 5];
    last.read_exact(&mut answer).expect("it is served");
    eventually("two are there again", || children(server.pid()).len() == 2);
}

#[test]
fn sigterm_ends_idle_children_in_order() {
    let (server, address) = start(&[]);
    let mut clients: Vec<_> = (0..5).map(|_| connect(&address)).collect();
    clients.iter_mut().for_each(|client| ask(client, "hello"));
    let begin = Instant::now();
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{log}");
    clients
        .into_iter()
        .for_each(|client| assert_eq!(read_all(client), ""));
}

#[test]
fn children_that_are_not_done_in_time_are_killed() {
    let (server, address) = start(&["--drain", "0.3"]);
    // Its child is in a request for as long as it does not read.
    let mut client = connect(&address);
    let flood = vec![b'x'; 1 << 16];
    client.set_nonblocking(true).expect("it is open");
    eventually(
        "the child is blocked in a write",
        || matches!(client.write(&flood), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock),
    );
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("had not ended in time"), "{log}");
}

#[test]
fn the_port_is_free_once_the_server_has_ended_though_a_child_runs() {
    let (mut server, address) = start(&[]);
    let mut client = connect(&address);
    ask(&mut client, "hello");
    server.child.kill().expect("it lives");
    server.child.wait().expect("it is ours");
    ask(&mut client, "still served");
    let refused = TcpStream::connect(&address);
    assert!(refused.is_err(), "the child listens");
}

#[test]
fn a_unix_stream_server_forks_too() {
    let (_folder, path) = socket_path();
    let arguments = [
        path.to_str().expect("it is text"),
        "--server",
        "forking-unix-stream",
    ];
    let server = Example::start("echo_server", &arguments);
    let address: Address = socket2::SockAddr::unix(&path).expect("it is short").into();
    let mut client = connect_unix(&address);
    ask(&mut client, "hello");
    only_child(&server);
    drop(client);
    eventually("it is reaped", || children(server.pid()).is_empty());
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!path.exists());
}
