//! The example `echo_server` with a process for each client.
#![cfg(feature = "fork")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socketserver::Address;

use support::example::Example;
use support::process::children;
use support::{ANY, connect, connect_unix, eventually, read_all, socket_path};

fn start(arguments: &[&str]) -> (Example, Address) {
    let common = [ANY, "--server", "forking-tcp"];
    let server = Example::start("echo_server", &[&common, arguments].concat());
    let address: SocketAddr = server.address.parse().expect("an IP address");
    (server, address.into())
}

fn expect_echo(stream: &mut (impl Read + Write), text: &str) {
    stream.write_all(text.as_bytes()).expect("the server reads");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, text.as_bytes());
}

fn only_child(server: &Example) -> u32 {
    let children = children(server.pid());
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

/// The targets of a process's descriptors.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

fn sockets(pid: u32) -> usize {
    let all = descriptors(pid);
    all.iter().filter(|one| one.starts_with("socket:")).count()
}

#[test]
fn each_client_is_served_by_a_separate_process() {
    let (server, address) = start(&[]);
    let (mut one, mut other) = (connect(&address), connect(&address));
    expect_echo(&mut one, "hello");
    expect_echo(&mut other, "hello");
    let both = children(server.pid());
    assert_eq!(both.len(), 2);
    drop((one, other));
    eventually("both children are reaped", || {
        children(server.pid()).is_empty()
    });
}

#[test]
fn a_child_has_only_its_connection_and_the_server_only_its_listener() {
    let (server, address) = start(&[]);
    let (mut one, mut other) = (connect(&address), connect(&address));
    expect_echo(&mut one, "hello");
    expect_echo(&mut other, "hello");
    for child in children(server.pid()) {
        assert_eq!(sockets(child), 1, "{:?}", descriptors(child));
    }
    // The listener, and the pair that wakes the accept loop.
    eventually(
        "the server has closed its copies of both connections",
        || sockets(server.pid()) == 3,
    );
}

#[test]
fn the_client_sees_the_end_when_its_child_has_ended() {
    let (_server, address) = start(&[]);
    let mut client = connect(&address);
    expect_echo(&mut client, "hello");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("the connection is open");
    assert_eq!(read_all(client), "");
}

#[test]
fn a_crashed_child_closes_its_own_connection_only() {
    let (server, address) = start(&[]);
    let mut first = connect(&address);
    expect_echo(&mut first, "hello");
    let child = only_child(&server);
    let mut other = connect(&address);
    expect_echo(&mut other, "hello");
    let pid = Pid::from_raw(child.try_into().expect("a pid fits into an i32"));
    kill(pid, Signal::SIGABRT).expect("the process runs");
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    expect_echo(&mut other, "still here");
    expect_echo(&mut connect(&address), "me too");
    drop(other);
    eventually("all children are reaped", || {
        children(server.pid()).is_empty()
    });
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains(&format!("process {child} was killed by SIGABRT")),
        "{log}"
    );
}

#[test]
fn a_panic_ends_only_the_child() {
    let (server, address) = start(&["--panic-on", "boom"]);
    let mut first = connect(&address);
    first.write_all(b"boom").expect("the server reads");
    assert_eq!(read_all(first), "");
    expect_echo(&mut connect(&address), "hello");
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("handle failed: panicked"), "{log}");
}

#[test]
fn two_hundred_requests_have_at_most_forty_children() {
    let (server, address) = start(&[]);
    let clients: Vec<_> = (0..200).map(|_| connect(&address)).collect();
    let served = std::thread::scope(|scope| {
        let serve = |mut client: TcpStream| scope.spawn(move || expect_echo(&mut client, "hello"));
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
    eventually("all children are reaped", || {
        children(server.pid()).is_empty()
    });
}

#[test]
fn a_lower_max_children_is_respected() {
    let (server, address) = start(&["--max-children", "2"]);
    let mut clients: Vec<_> = (0..3).map(|_| connect(&address)).collect();
    let mut last = clients.pop().expect("there are three clients");
    clients
        .iter_mut()
        .for_each(|client| expect_echo(client, "hello"));
    last.write_all(b"hello").expect("the kernel buffers it");
    assert_eq!(children(server.pid()).len(), 2);
    clients.pop();
    let mut answer = [0; 5];
    last.read_exact(&mut answer).expect("the client is served");
    eventually("two children run", || children(server.pid()).len() == 2);
}

#[test]
fn sigterm_ends_idle_children_gracefully() {
    let (server, address) = start(&[]);
    let mut clients: Vec<_> = (0..5).map(|_| connect(&address)).collect();
    clients
        .iter_mut()
        .for_each(|client| expect_echo(client, "hello"));
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
fn unfinished_children_are_killed_at_the_limit() {
    let (server, address) = start(&["--drain", "0.3"]);
    let mut client = connect(&address);
    expect_echo(&mut client, "hello");
    // It does not notice that the server shuts down.
    let child = i32::try_from(only_child(&server)).expect("a process number");
    kill(Pid::from_raw(child), Signal::SIGSTOP).expect("the child runs");
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("had not ended in time"), "{log}");
}

#[test]
fn the_port_is_free_after_the_server_ended_while_a_child_runs() {
    let (mut server, address) = start(&[]);
    let mut client = connect(&address);
    expect_echo(&mut client, "hello");
    server.child.kill().expect("the process runs");
    server.child.wait().expect("a child process");
    expect_echo(&mut client, "still served");
    let refused = TcpStream::connect(&address);
    assert!(refused.is_err(), "the child does not listen");
}

#[test]
fn a_unix_stream_server_forks_too() {
    let (_folder, path) = socket_path();
    let arguments = [
        path.to_str().expect("the text is UTF-8"),
        "--server",
        "forking-unix-stream",
    ];
    let server = Example::start("echo_server", &arguments);
    let address: Address = socket2::SockAddr::unix(&path)
        .expect("the length fits")
        .into();
    let mut client = connect_unix(&address);
    expect_echo(&mut client, "hello");
    only_child(&server);
    drop(client);
    eventually("the child is reaped", || children(server.pid()).is_empty());
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!path.exists());
}

#[test]
fn during_a_drain_delay_each_child_ends_after_its_next_message() {
    let (server, address) = start(&["--drain-delay", "3600"]);
    let mut used = connect(&address);
    expect_echo(&mut used, "hello");
    server.signal(Signal::SIGTERM);
    // It is not ready, and goes on.
    eventually("the child has the signal", || {
        ignores_sigterm(only_child(&server))
    });
    expect_echo(&mut used, "last");
    assert_eq!(read_all(used), "");
    for _ in 0..3 {
        let mut late = connect(&address);
        expect_echo(&mut late, "only");
        assert_eq!(read_all(late), "");
    }
    // A second signal ends the delay.
    let idle = connect(&address);
    eventually("there is a child", || !children(server.pid()).is_empty());
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success(), "{log}");
    drop(idle);
}

#[test]
fn idle_children_end_with_the_drain_delay() {
    let (server, address) = start(&["--drain-delay", "1"]);
    let mut before = connect(&address);
    expect_echo(&mut before, "hello");
    let began = Instant::now();
    server.signal(Signal::SIGTERM);
    eventually("the child has the signal", || {
        ignores_sigterm(only_child(&server))
    });
    let after = connect(&address);
    eventually("both have a child", || children(server.pid()).len() == 2);
    assert_eq!(read_all(before), "");
    assert_eq!(read_all(after), "");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let (status, _, log) = server.finish();
    assert!(status.success(), "{log}");
    assert!(!log.contains("by force"), "{log}");
}

/// A child acts on SIGTERM once, and then ignores it.
fn ignores_sigterm(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.expect("Linux has it").trim();
    let mask = u64::from_str_radix(ignored, 16).expect("a number");
    mask & 1 << (Signal::SIGTERM as i32 - 1) != 0
}
