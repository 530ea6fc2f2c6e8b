//! Read and write timeouts, idle timeouts and deadlines.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch, Server, Stage};
use tempfile::TempDir;

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::handlers::{
    ReportErrors, ReportedError, begin, block, expect_timeout, with_error_reports,
};
use support::kind::{Client, Kind};
use support::{
    ANY, LONG, connect, exchange, for_stream_kinds, in_background, read_all, socket_folder,
};

/// A short time limit that is going to expire.
const SHORT: Duration = Duration::from_millis(400);

/// A server of any stream kind, whose errors are reported to the test.
fn start<L: Kind<Request = StreamRequest>, D: Dispatch>(
    builder: Builder<L, D>,
    handle: fn(&mut StreamRequest) -> HandlerResult,
) -> (BackgroundServer, Receiver<ReportedError>, TempDir) {
    let folder = socket_folder();
    let (errors, seen) = channel();
    let builder = builder.hooks(ReportErrors(errors));
    let server = builder.bind_fn(L::address(folder.path()), handle);
    (in_background(server), seen, folder)
}

fn timeouts_end_a_blocked_read_and_a_blocked_write<L: Kind<Request = StreamRequest>>() {
    let builder = Server::<L, Concurrent>::builder().read_timeout(SHORT);
    let (server, seen, _folder) = start(builder.write_timeout(SHORT), block);
    let ip = server.server_address().ip().map(|ip| ip.to_string());
    let client_ip = ip.unwrap_or_default();
    let mut reading = L::connect(server.server_address());
    assert_eq!(reading.exchange("read"), "begun");
    expect_timeout(
        &seen,
        Stage::Handle,
        &format!("nothing received from {client_ip}"),
    );
    assert_eq!(reading.receive_line(), "");
    let mut writing = L::connect(server.server_address());
    assert_eq!(writing.exchange("write"), "begun");
    expect_timeout(
        &seen,
        Stage::Handle,
        &format!("could not send to {client_ip}"),
    );
}

fn an_idle_timeout_is_not_an_error<L: Kind<Request = StreamRequest>>() {
    let builder = Server::<L, Concurrent>::builder().idle_timeout(SHORT);
    let (server, errors, _folder) = start(builder, echo_lines);
    let mut client = L::connect(server.server_address());
    let started = Instant::now();
    assert_eq!(client.exchange("hello"), "hello");
    assert_eq!(client.receive_line(), "last line");
    assert_eq!(client.receive_line(), "");
    assert!(started.elapsed() >= SHORT);
    server.stop().expect("a shutdown is not an error");
    assert_eq!(errors.try_recv().ok(), None);
}

/// The server has one thread, which must serve the second client after the first.
fn a_deadline_ends_a_blocked_read_and_a_blocked_write<L: Kind<Request = StreamRequest>>() {
    let builder = Server::<L, Inline>::builder().max_lifetime(SHORT);
    let (server, seen, _folder) = start(builder, block);
    for how in ["read", "write"] {
        let mut client = L::connect(server.server_address());
        assert_eq!(client.exchange(how), "begun");
        expect_timeout(&seen, Stage::Handle, "was not done within 400ms");
    }
    assert_eq!(L::connect(server.server_address()).exchange("end"), "begun");
}

for_stream_kinds! {
    timeouts_end_a_blocked_read_and_a_blocked_write
    an_idle_timeout_is_not_an_error
    a_deadline_ends_a_blocked_read_and_a_blocked_write
}

#[test]
fn a_timeout_of_zero_is_an_error_of_bind() {
    for builder in [
        TcpServer::builder().read_timeout(Duration::ZERO),
        TcpServer::builder().write_timeout(Duration::ZERO),
        TcpServer::builder().idle_timeout(Duration::ZERO),
        TcpServer::builder().max_lifetime(Duration::ZERO),
    ] {
        let error = builder
            .bind_fn(ANY, block)
            .expect_err("a timeout of zero is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A handler that sends lines back, and is idle between lines.
fn echo_lines(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
    }
    Ok(request.wfile.write_all(b"last line\n")?)
}

#[test]
fn a_connection_that_never_sends_is_idle() {
    // The handler of this test does not call `wait_for_data`.
    let (server, errors) = with_error_reports(
        ConcurrentTcpServer::builder().idle_timeout(SHORT),
        ANY,
        block,
    );
    assert_eq!(read_all(connect(server.server_address())), "begun\n");
    server.stop().expect("serving ends without an error");
    assert_eq!(errors.try_recv().ok(), None);
}

#[test]
fn a_request_that_has_begun_is_not_idle() {
    let (server, _) = with_error_reports(
        ConcurrentTcpServer::builder().idle_timeout(SHORT),
        ANY,
        echo_lines,
    );
    let mut client = connect(server.server_address());
    client.write_all(b"hel").expect("the server reads");
    thread::sleep(4 * SHORT);
    assert_eq!(exchange(&client, "lo\n"), "hello\n");
    // After that request the timeout applies again.
    assert_eq!(read_all(client), "last line\n");
}

#[test]
fn each_request_restarts_the_idle_timeout() {
    let idle = Duration::from_millis(1200);
    let (server, _) = with_error_reports(
        ConcurrentTcpServer::builder().idle_timeout(idle),
        ANY,
        echo_lines,
    );
    let client = connect(server.server_address());
    let started = Instant::now();
    while started.elapsed() < 2 * idle {
        assert_eq!(exchange(&client, "hello\n"), "hello\n");
        thread::sleep(idle / 4);
    }
    assert_eq!(read_all(client), "last line\n");
}

#[test]
fn neither_slow_nor_fast_clients_extend_max_lifetime() {
    for (piece, pause) in [(&b"."[..], 10), (&[b'\n'; 65_536][..], 0)] {
        let (server, seen) =
            with_error_reports(TcpServer::builder().max_lifetime(2 * SHORT), ANY, block);
        let started = Instant::now();
        let mut client = begin(server.server_address(), "read");
        while client.write_all(piece).is_ok() {
            assert!(started.elapsed() < LONG, "the connection is never closed");
            thread::sleep(Duration::from_millis(pause));
        }
        assert!(started.elapsed() >= 2 * SHORT);
        expect_timeout(&seen, Stage::Handle, "was not done within 800ms");
        // The server has one thread, which serves the next client.
        begin(server.server_address(), "nothing");
    }
}

#[test]
fn max_lifetime_applies_after_an_idle_timeout() {
    let (errors, seen) = channel();
    let server = ConcurrentTcpServer::builder()
        .hooks(ReportErrors(errors))
        .idle_timeout(SHORT)
        .max_lifetime(3 * SHORT)
        .bind_fn(ANY, |request| {
            assert!(!request.wait_for_data()?, "the client has sent nothing");
            loop {
                request.wfile.write_all(&[b'.'; 65_536])?;
            }
        });
    let server = in_background(server);
    let _blocked = connect(server.server_address());
    expect_timeout(&seen, Stage::Handle, "was not done within 1.2s");
}

#[test]
fn a_detached_connection_has_no_deadline() {
    let (detached, kept) = channel();
    let server = ConcurrentTcpServer::builder()
        .max_lifetime(SHORT)
        .idle_timeout(SHORT)
        .bind_fn(ANY, move |request| {
            detached.send(request.detach()).map_err(|e| e.to_string())?;
            Ok(())
        });
    let server = in_background(server);
    let client = connect(server.server_address());
    let mut request = kept
        .recv_timeout(LONG)
        .expect("the handler detaches the request");
    thread::sleep(3 * SHORT);
    // The end of the server does not close the connection either.
    server.handle().shutdown_within(Duration::ZERO);
    server.stop().expect("serving ends without an error");
    let echo = thread::spawn(move || {
        let line = request.rfile.readline(100).expect("the connection is open");
        request
            .wfile
            .write_all(&line)
            .expect("the connection is open");
    });
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    echo.join().expect("the thread does not panic");
}

/// Hooks that do nothing.
struct Idle;

impl Hooks for Idle {}

#[test]
fn the_maximum_duration_is_no_limit() {
    let server = ConcurrentTcpServer::builder()
        .hooks(Idle)
        .dispatch(ThreadPool::new())
        .timeout(Duration::MAX)
        .poll_interval(Duration::MAX)
        .shutdown_timeout(Duration::MAX)
        .thread_keep_alive(Duration::MAX)
        .read_timeout(Duration::MAX)
        .write_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .max_lifetime(Duration::MAX)
        .bind_fn(ANY, echo_lines)
        .expect("a port is free");
    let client = TcpStream::connect(server.server_address()).expect("the server listens");
    server.handle_request().expect("a client has connected");
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    for client in [client, connect(server.server_address())] {
        assert_eq!(exchange(&client, "hello\n"), "hello\n");
    }
    let mut idle = connect(server.server_address());
    assert_eq!(exchange(&idle, "hello\n"), "hello\n");
    server.stop().expect("serving ends without an error");
    assert_eq!(idle.read(&mut [0; 10]).expect("the last line"), 10);
}

/// A handler that sends lines back. Each line is a request with a separate deadline.
fn line_by_line(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        request.set_max_lifetime(SHORT)?;
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
        request.set_max_lifetime(None)?;
    }
    Ok(())
}

#[test]
fn each_request_of_a_connection_can_have_a_deadline() {
    let (errors, seen) = channel();
    let server = ConcurrentTcpServer::builder().hooks(ReportErrors(errors));
    let server = server.max_lifetime(SHORT / 2).bind_fn(ANY, |request| {
        request.set_max_lifetime(None)?;
        line_by_line(request)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    for _ in 0..4 {
        assert_eq!(exchange(&client, "hello\n"), "hello\n");
        thread::sleep(SHORT / 2);
    }
    // This request does not end.
    client.write_all(b"hel").expect("the server reads");
    expect_timeout(&seen, Stage::Handle, "was not done within");
    assert_eq!(client.read(&mut [0; 10]).unwrap_or(0), 0);
}
