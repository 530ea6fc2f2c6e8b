//! A graceful shutdown: running requests finish, idle connections are closed, and unfinished
//! requests are forced to close at the limit.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch, Stage, listener, task};

use nix::sys::signal::Signal;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUdpServer, ConcurrentUnixStreamServer};
use support::example::{self, Example};
use support::gate::Gate;
use support::handlers::{ReportErrors, begin, block, counts, upper_lines};
use support::{
    ANY, LONG, connect, connect_udp, connect_unix, eventually, exchange, in_background, read_all,
    socket_path,
};

/// A short limit, for requests that are forced to close.
const SHORT: Duration = Duration::from_millis(200);
/// The time that a forced shutdown may take beyond its limit: half a second for handlers that do
/// not end, and more on a busy machine.
const BEYOND: Duration = Duration::from_secs(5);

fn serve<D: Dispatch>(builder: Builder<listener::Tcp, D>) -> BackgroundServer {
    in_background(builder.bind_fn(ANY, block))
}

#[test]
fn running_requests_finish_and_count_as_drained() {
    const CLIENTS: usize = 3;
    let gate = Gate::default();
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, gate.handler()));
    let clients = [(); CLIENTS].map(|()| connect(server.server_address()));
    for mut client in &clients {
        client.write_all(b"hello\n").expect("the server reads");
        gate.next();
    }
    let report = thread::scope(|scope| {
        let report = scope.spawn(|| server.handle().shutdown_within(LONG));
        eventually("the shutdown begins", || server.handle().is_shutting_down());
        assert!(!report.is_finished());
        gate.release(CLIENTS);
        report.join().expect("the call returns")
    });
    assert_eq!(counts(report), (CLIENTS, 0, 0));
    assert!(
        clients
            .into_iter()
            .all(|client| read_all(client) == "hello\n")
    );
}

#[test]
fn idle_connections_are_closed_at_once() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, upper_lines));
    let between = connect(server.server_address());
    assert_eq!(exchange(&between, "hello\n"), "HELLO\n");
    let started = Instant::now();
    assert_eq!(counts(server.handle().shutdown_within(LONG)), (1, 0, 0));
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(read_all(between), "");
}

#[test]
fn connections_without_any_data_are_closed_at_once() {
    let (_folder, path) = socket_path();
    let (begun, begins) = channel();
    let server = ConcurrentUnixStreamServer::bind_fn(&path, move |request| {
        begun.send(()).expect("the test receives it");
        // The handler does not call `wait_for_data`. The connection is idle because nothing was
        // received.
        let line = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&line)?)
    });
    let server = in_background(server);
    let silent = connect_unix(server.server_address());
    begins.recv_timeout(LONG).expect("the handler runs");
    let started = Instant::now();
    assert_eq!(counts(server.handle().shutdown_within(LONG)), (1, 0, 0));
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(read_all(silent), "");
}

#[test]
fn blocked_handlers_count_as_forced_or_unfinished() {
    let server = serve(ConcurrentTcpServer::builder());
    let address = server.server_address();
    let _blocked =
        ["read", "read", "write", "write", "write", "loop"].map(|how| begin(address, how));
    let started = Instant::now();
    assert_eq!(counts(server.handle().shutdown_within(SHORT)), (0, 5, 1));
    let took = started.elapsed();
    assert!(SHORT <= took && took < SHORT + BEYOND, "{took:?}");
    server.stop().expect("closing does not wait");
    assert!(started.elapsed() < SHORT + 2 * BEYOND);
}

#[test]
fn a_report_counts_each_outcome() {
    let server = serve(ConcurrentTcpServer::builder());
    let address = server.server_address();
    let finishing = begin(address, "read");
    let _blocked = ["read", "loop"].map(|how| begin(address, how));
    let report = thread::scope(|scope| {
        let report = scope.spawn(|| server.handle().shutdown_within(5 * SHORT));
        eventually("the shutdown begins", || server.handle().is_shutting_down());
        drop(finishing);
        report.join().expect("the call returns")
    });
    assert_eq!(counts(report), (1, 1, 1));
}

#[test]
fn an_inline_request_is_forced_to_close() {
    for (how, expected) in [("read", (0, 1, 0)), ("write", (0, 1, 0))] {
        let server = serve(TcpServer::builder());
        let _blocked = begin(server.server_address(), how);
        assert_eq!(counts(server.handle().shutdown_within(SHORT)), expected);
        server.stop().expect("no request runs");
    }
}

#[test]
fn stopping_an_inline_server_does_not_wait_for_a_handler_that_loops() {
    let server = serve(TcpServer::builder());
    let _blocked = begin(server.server_address(), "loop");
    let started = Instant::now();
    assert_eq!(counts(server.handle().shutdown_within(SHORT)), (0, 0, 1));
    let error = server.stop().expect_err("the serving thread does not end");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(started.elapsed() < SHORT + 2 * BEYOND);
}

#[test]
fn a_forced_request_sees_an_aborted_connection() {
    let (errors, seen) = channel();
    let server = serve(ConcurrentTcpServer::builder().hooks(ReportErrors(errors)));
    let _blocked = ["read", "write"].map(|how| begin(server.server_address(), how));
    server.handle().shutdown_within(SHORT);
    for _ in 0..2 {
        let seen = seen.recv_timeout(LONG).expect("the error is reported");
        assert_eq!(seen.stage, Stage::Handle);
        assert_eq!(seen.kind, Some(ErrorKind::ConnectionAborted));
        assert!(seen.is_disconnect);
        assert!(seen.text.contains("shutting down"), "{}", seen.text);
    }
}

#[test]
fn shutdown_timeout_applies_to_shutdown() {
    for how in ["read", "write", "loop"] {
        let server = serve(ConcurrentTcpServer::builder().shutdown_timeout(SHORT));
        let _blocked = begin(server.server_address(), how);
        let started = Instant::now();
        server.handle().shutdown();
        drop(server);
        let took = started.elapsed();
        assert!(SHORT <= took && took < SHORT + BEYOND, "{how}: {took:?}");
    }
}

#[test]
fn without_shutdown_timeout_shutdown_has_no_limit() {
    let server = serve(ConcurrentTcpServer::builder().shutdown_timeout(None));
    let reading = begin(server.server_address(), "read");
    let stopping = thread::spawn(|| server.stop());
    thread::sleep(2 * SHORT);
    assert!(!stopping.is_finished());
    drop(reading);
    let stopped = stopping.join().expect("the call returns");
    stopped.expect("serving ends without an error");
}

#[test]
fn a_datagram_handler_that_loops_counts_as_unfinished() {
    let (begun, begins) = channel();
    let server = ConcurrentUdpServer::bind_fn(ANY, move |_| {
        begun.send(()).expect("the test receives it");
        loop {
            task::sleep(LONG);
        }
    });
    let server = in_background(server);
    let client = connect_udp(server.server_address());
    client.send(b"hello").expect("loopback");
    begins.recv_timeout(LONG).expect("the handler runs");
    assert_eq!(counts(server.handle().shutdown_within(SHORT)), (0, 0, 1));
}

/// A client that sends until its writes block, and never reads. The echo server then blocks in a
/// write.
fn block_the_server(server: &Example) -> TcpStream {
    let mut client = TcpStream::connect(&server.address).expect("the server listens");
    let pause = Some(Duration::from_millis(500));
    client
        .set_write_timeout(pause)
        .expect("the timeout is not zero");
    while client.write(&[b'.'; 65_536]).is_ok() {}
    client
}

#[test]
fn sigterm_ends_a_server_with_a_blocked_client_at_the_limit() {
    for kind in ["tcp", "threading-tcp"] {
        let server = Example::start("echo_server", &[ANY, "--drain", "0.5", "--server", kind]);
        let _blocked = block_the_server(&server);
        let started = Instant::now();
        server.signal(Signal::SIGTERM);
        let (status, _, log) = server.finish();
        assert!(status.success(), "{status} {log}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(500), "{took:?}");
        assert!(took < LONG, "{took:?}");
    }
}

#[test]
fn a_second_ctrl_c_forces_connections_to_close() {
    let server = Example::start("echo_server", &[ANY, "--drain", "1000"]);
    let _blocked = block_the_server(&server);
    let mut idle = TcpStream::connect(&server.address).expect("the server listens");
    assert_eq!(exchange(&idle, "hello\n"), "hello\n");
    server.signal(Signal::SIGINT);
    // The end of the idle connection shows that the server has handled the first signal.
    assert_eq!(idle.read(&mut [0]).expect("the stream ends"), 0);
    // A signal that arrives sooner counts as the same signal.
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::SIGINT);
    let (status, _, log) = server.finish();
    assert!(status.success(), "{status} {log}");
}

#[test]
fn invalid_durations_are_refused_on_the_command_line() {
    for (option, value) in [
        ("--read-timeout", "0"),
        ("--idle-timeout", "soon"),
        ("--deadline", "-1"),
        ("--drain", "1e30"),
        ("--drain", "NaN"),
    ] {
        let output = example::run("echo_server", &[ANY, &format!("{option}={value}")]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(option));
    }
}
