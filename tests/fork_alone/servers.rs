//! Forking servers of a program without other threads, as they are meant to be used.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Command};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, SigHandler, Signal};
use socketserver::Statistics;
use socketserver::prelude::*;

use crate::harness::{Trial, trial};

use support::handlers::echo_line;
use support::{ANY, LONG, connect, eventually, read_all};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(a_server_forks_after_another_was_closed),
        trial!(a_server_forks_after_another_with_deadlines),
        trial!(max_lifetime_applies_in_a_child),
        trial!(a_child_sends_a_file),
        trial!(a_process_with_another_thread_is_not_forked),
        trial!(queued_connections_are_not_inherited),
        trial!(a_child_counts_no_request_of_another_process),
        trial!(a_child_that_has_ended_does_not_count_per_ip),
        trial!(programs_that_a_child_starts_can_be_interrupted),
        trial!(programs_that_a_child_starts_ignore_what_the_server_ignores),
    ]
}

const SHORT: Duration = Duration::from_millis(10);

fn forking() -> ForkingTcpServer {
    ForkingTcpServer::bind_fn(ANY, echo_line).expect("a port is free")
}

fn send(server: &ForkingTcpServer, text: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    client
        .write_all(text.as_bytes())
        .expect("the kernel buffers it");
    client
}

/// Makes a request to a server, serves it on this thread, and returns the answer.
fn serve_one(server: &ForkingTcpServer) -> String {
    let client = send(server, "hello\n");
    server.handle_request().expect("the request is served");
    read_all(client)
}

/// Reaps children, without serving a client. The server must have a short timeout.
fn reap_until_none_is_active(server: &ForkingTcpServer) {
    eventually("all children are reaped", || {
        server.handle_request().expect("the request is served");
        server.handle().statistics().active == 0
    });
}

/// The states of this process's children. `Z` is a child that has ended and was not reaped.
fn children() -> Vec<String> {
    let pid = process::id();
    let pids = fs::read_to_string(format!("/proc/self/task/{pid}/children"));
    let pids = pids.expect("/proc is readable");
    let stat = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let stats = pids.split_whitespace().filter_map(stat);
    stats
        .filter_map(|stat| Some(stat.rsplit_once(") ")?.1[..1].to_owned()))
        .collect()
}

fn a_server_forks_after_another_was_closed() {
    for _ in 0..3 {
        let server = forking();
        assert_eq!(serve_one(&server), "hello\n");
        server.server_close();
        assert!(children().is_empty());
    }
}

fn a_server_forks_after_another_with_deadlines() {
    let before = TcpServer::builder().max_lifetime(Duration::from_secs(3600));
    let before = before.bind_fn(ANY, echo_line).expect("a port is free");
    let mut client = connect(before.server_address());
    client.write_all(b"hello\n").expect("the kernel buffers it");
    before.handle_request().expect("the request is served");
    assert_eq!(read_all(client), "hello\n");
    assert_eq!(serve_one(&forking()), "hello\n");
}

fn max_lifetime_applies_in_a_child() {
    let builder = ForkingTcpServer::builder().timeout(SHORT);
    let server = builder.max_lifetime(Duration::from_millis(100));
    let server = server.bind_fn(ANY, echo_line).expect("a port is free");
    let mut client = connect(server.server_address());
    server.handle_request().expect("the request is served");
    let begin = Instant::now();
    let _ = client.read_to_end(&mut Vec::new());
    assert!(begin.elapsed() < Duration::from_secs(10));
    reap_until_none_is_active(&server);
    assert_eq!(server.handle().statistics().failed, 1);
}

fn a_child_sends_a_file() {
    let server = ForkingTcpServer::bind_fn(ANY, |request| {
        let file = fs::File::open("/proc/self/exe")?;
        Ok(request.wfile.send_file(&file, 1..4).map(drop)?)
    });
    let server = server.expect("a port is free");
    assert_eq!(serve_one(&server), "ELF");
}

fn a_process_with_another_thread_is_not_forked() {
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || stopped.recv());
    let server = forking();
    assert_eq!(serve_one(&server), "");
    assert_eq!(server.handle().statistics().rejected.dispatch, 1);
    drop(stop);
    let _ = thread.join();
    eventually("the thread has ended", || {
        fs::read_dir("/proc/self/task")
            .expect("/proc is readable")
            .count()
            == 1
    });
    assert_eq!(serve_one(&server), "hello\n");
}

fn count_sockets() -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("/proc is readable");
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let texts = targets.map(|target| target.display().to_string());
    texts.filter(|text| text.starts_with("socket:")).count()
}

fn queued_connections_are_not_inherited() {
    let server = ForkingTcpServer::builder()
        .max_children(1)
        .timeout(SHORT)
        .overload(OverloadPolicy::Queue {
            length: 10,
            timeout: Duration::from_secs(60),
        })
        .bind_fn(ANY, |request| {
            request.rfile.readline(100)?;
            Ok(writeln!(request.wfile, "{}", count_sockets())?)
        });
    let server = server.expect("a port is free");
    let mut first = connect(server.server_address());
    server.handle_request().expect("the request is served");
    let queued = [send(&server, "second\n"), send(&server, "third\n")];
    eventually("two clients are queued", || {
        server.handle_request().expect("the request is served");
        server.handle().statistics().queued == 2
    });
    first.write_all(b"first\n").expect("the child reads");
    read_all(first);
    eventually(
        "the second client is served while the third is queued",
        || {
            server.handle_request().expect("the request is served");
            server.handle().statistics().queued < 2
        },
    );
    assert_eq!(server.handle().statistics().queued, 1);
    let [second, third] = queued;
    // The child's own connection, and the clients' ends of both connections.
    assert_eq!(read_all(second), "3\n");
    server.server_close();
    assert_eq!(read_all(third), "");
}

/// Each child adds up its own statistics, and waits for no request but its own.
fn a_child_counts_no_request_of_another_process() {
    let server = ForkingTcpServer::builder()
        .timeout(SHORT)
        .bind_fn(ANY, |request| {
            let line = request.rfile.readline(100)?;
            let counts = request.server.statistics();
            let begin = Instant::now();
            let left = request.server.shutdown_within(LONG / 2).unfinished;
            assert!(begin.elapsed() < LONG / 4, "it waits for other processes");
            assert_eq!(line, b"hello\n");
            let Statistics {
                accepted,
                active,
                finished,
                ..
            } = counts;
            Ok(writeln!(
                request.wfile,
                "{accepted} {active} {finished} {left}"
            )?)
        });
    let server = server.expect("a port is free");
    assert_eq!(serve_one(&server), "1 1 0 0\n");
    reap_until_none_is_active(&server);
    let mut blocked = [(); 3].map(|()| {
        let client = connect(server.server_address());
        server.handle_request().expect("the request is served");
        client
    });
    assert_eq!(server.handle().statistics().active, 3);
    // One request has ended before the fork, and three run in other processes.
    assert_eq!(serve_one(&server), "2 1 1 0\n");
    for client in &mut blocked {
        client.write_all(b"hello\n").expect("the child reads");
        assert!(read_all(client).contains(" 1 1 0\n"));
    }
    reap_until_none_is_active(&server);
    let counts = server.handle().statistics();
    assert_eq!((counts.accepted, counts.finished), (5, 5));
}

fn a_child_that_has_ended_does_not_count_per_ip() {
    let builder = ForkingTcpServer::builder().max_per_ip(1);
    let server = builder.bind_fn(ANY, echo_line).expect("a port is free");
    for _ in 0..20 {
        assert_eq!(serve_one(&server), "hello\n");
        eventually("the child has ended", || children() == ["Z"]);
    }
}

fn programs_that_a_child_starts_can_be_interrupted() {
    let server = ForkingTcpServer::bind_fn(ANY, |request| {
        let status = Command::new("sh").args(["-c", "kill -INT $$"]).status()?;
        Ok(writeln!(request.wfile, "{:?}", status.signal())?)
    });
    let server = server.expect("a port is free");
    server
        .shutdown_on_ctrlc()
        .expect("no other signal handler is installed");
    let expected = format!("{:?}\n", Some(Signal::SIGINT as i32));
    assert_eq!(serve_one(&server), expected);
}

#[allow(unsafe_code)]
fn programs_that_a_child_starts_ignore_what_the_server_ignores() {
    // SAFETY: no handler is installed.
    let ignored = unsafe { signal::signal(Signal::SIGHUP, SigHandler::SigIgn) };
    ignored.expect("the signal can be ignored");
    let server = ForkingTcpServer::bind_fn(ANY, |request| {
        let status = Command::new("sh").args(["-c", "kill -HUP $$"]).status()?;
        Ok(writeln!(request.wfile, "{:?}", status.signal())?)
    });
    let server = server.expect("a port is free");
    server
        .shutdown_on_ctrlc()
        .expect("no other signal handler is installed");
    assert_eq!(serve_one(&server), "None\n");
}
