//! Read and write timeouts, idle timeouts and deadlines: what each ends, and what it leaves alone.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch, Server, Stage};
use tempfile::TempDir;

use support::handlers::{Seen, Watch, begin, block, watched};
use support::kind::{Client, Kind};
use support::{
    ANY, LONG, connect, exchange, for_stream_kinds, in_background, read_all, socket_folder,
};

/// Short, for what is going to end.
const SHORT: Duration = Duration::from_millis(400);

fn expect_timeout(seen: &Receiver<Seen>, text: &str) {
    let seen = seen.recv_timeout(LONG).expect("an error");
    assert_eq!(seen.stage, Stage::Handle);
    assert_eq!(seen.kind, Some(ErrorKind::TimedOut));
    assert!(!seen.is_disconnect);
    assert!(seen.text.contains(text), "{}", seen.text);
}

/// A server of any stream kind, whose errors are reported.
fn start<L: Kind<Request = StreamRequest>, D: Dispatch>(
    builder: Builder<L, D>,
    handle: fn(&mut StreamRequest) -> HandlerResult,
) -> (BackgroundServer, Receiver<Seen>, TempDir) {
    let folder = socket_folder();
    let (errors, seen) = channel();
    let builder = builder.hooks(Watch(errors));
    let server = builder.bind_fn(L::address(folder.path()), handle);
    (in_background(server), seen, folder)
}

fn timeouts_end_a_read_and_a_write<L: Kind<Request = StreamRequest>>() {
    let builder = Server::<L, ThreadPool>::builder().read_timeout(SHORT);
    let (server, seen, _folder) = start(builder.write_timeout(SHORT), block);
    let ip = server.server_address().ip().map(|ip| ip.to_string());
    let client_ip = ip.unwrap_or_default();
    let mut reading = L::connect(server.server_address());
    assert_eq!(reading.ask("read"), "begun");
    expect_timeout(&seen, &format!("nothing received from {client_ip}"));
    assert_eq!(reading.receive_line(), "");
    let mut writing = L::connect(server.server_address());
    assert_eq!(writing.ask("write"), "begun");
    expect_timeout(&seen, &format!("nothing could be sent to {client_ip}"));
}

fn an_idle_connection_ends_quietly<L: Kind<Request = StreamRequest>>() {
    let builder = Server::<L, ThreadPool>::builder().idle_timeout(SHORT);
    let (server, errors, _folder) = start(builder, converse);
    let mut client = L::connect(server.server_address());
    let started = Instant::now();
    assert_eq!(client.ask("hello"), "hello");
    assert_eq!(client.receive_line(), "last line");
    assert_eq!(client.receive_line(), "");
    assert!(started.elapsed() >= SHORT);
    server.stop().expect("a shutdown is no error");
    assert_eq!(errors.try_recv().ok(), None);
}

/// On one thread: it is free again after the first.
fn a_deadline_ends_a_blocked_read_and_a_blocked_write<L: Kind<Request = StreamRequest>>() {
    let builder = Server::<L, Inline>::builder().max_lifetime(SHORT);
    let (server, seen, _folder) = start(builder, block);
    for how in ["read", "write"] {
        let mut client = L::connect(server.server_address());
        assert_eq!(client.ask(how), "begun");
        expect_timeout(&seen, "was not done within 400ms");
    }
    assert_eq!(L::connect(server.server_address()).ask("end"), "begun");
}

for_stream_kinds! {
    timeouts_end_a_read_and_a_write
    an_idle_connection_ends_quietly
    a_deadline_ends_a_blocked_read_and_a_blocked_write
}

#[test]
fn a_timeout_of_zero_is_refused_at_once() {
    for builder in [
        TcpServer::builder().read_timeout(Duration::ZERO),
        TcpServer::builder().write_timeout(Duration::ZERO),
        TcpServer::builder().idle_timeout(Duration::ZERO),
        TcpServer::builder().max_lifetime(Duration::ZERO),
    ] {
        let error = builder.bind_fn(ANY, block).expect_err("no time at all");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// Answers lines and is idle in between; `Ok` for the end of the stream.
fn converse(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line)?;
    }
    Ok(request.wfile.write_all(b"last line\n")?)
}

#[test]
fn a_connection_that_never_sends_is_idle() {
    // This handler does not call `wait_for_data`.
    let (server, errors) = watched(
        ThreadingTcpServer::builder().idle_timeout(SHORT),
        ANY,
        block,
    );
    assert_eq!(read_all(connect(server.server_address())), "begun\n");
    server.stop().expect("it was asked to");
    assert_eq!(errors.try_recv().ok(), None);
}

#[test]
fn a_request_that_has_begun_is_not_idle() {
    let (server, _) = watched(
        ThreadingTcpServer::builder().idle_timeout(SHORT),
        ANY,
        converse,
    );
    let mut client = connect(server.server_address());
    client.write_all(b"hel").expect("the server reads");
    thread::sleep(4 * SHORT);
    assert_eq!(exchange(&client, "lo\n"), "hello\n");
}

#[test]
fn each_request_starts_the_idle_time_anew() {
    let idle = Duration::from_millis(1200);
    let (server, _) = watched(
        ThreadingTcpServer::builder().idle_timeout(idle),
        ANY,
        converse,
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
fn a_client_that_sends_slowly_or_fast_does_not_extend_a_deadline() {
    for (piece, pause) in [(&b"."[..], 10), (&[b'\n'; 65_536][..], 0)] {
        let (server, seen) = watched(TcpServer::builder().max_lifetime(2 * SHORT), ANY, block);
        let started = Instant::now();
        let mut client = begin(server.server_address(), "read");
        while client.write_all(piece).is_ok() {
            assert!(started.elapsed() < LONG, "the connection is never closed");
            thread::sleep(Duration::from_millis(pause));
        }
        assert!(started.elapsed() >= 2 * SHORT);
        expect_timeout(&seen, "was not done within 800ms");
        // One after the other: the thread is free again.
        begin(server.server_address(), "nothing");
    }
}

#[test]
fn a_deadline_holds_for_what_follows_an_idle_end() {
    let (errors, seen) = channel();
    let server = ThreadingTcpServer::builder()
        .hooks(Watch(errors))
        .idle_timeout(SHORT)
        .max_lifetime(3 * SHORT)
        .bind_fn(ANY, |request| {
            assert!(!request.wait_for_data()?, "nothing was sent");
            loop {
                request.wfile.write_all(&[b'.'; 65_536])?;
            }
        });
    let server = in_background(server);
    let _blocked = connect(server.server_address());
    expect_timeout(&seen, "was not done within 1.2s");
}

#[test]
fn a_detached_connection_has_no_deadline_any_more() {
    let (detached, kept) = channel();
    let server = ThreadingTcpServer::builder()
        .max_lifetime(SHORT)
        .idle_timeout(SHORT)
        .bind_fn(ANY, move |request| {
            detached.send(request.detach()).map_err(|e| e.to_string())?;
            Ok(())
        });
    let server = in_background(server);
    let client = connect(server.server_address());
    let mut request = kept.recv_timeout(LONG).expect("the handler gives it up");
    thread::sleep(3 * SHORT);
    // Nor does the end of the server end it.
    server.handle().shutdown_within(Duration::ZERO);
    server.stop().expect("it was asked to");
    let echo = thread::spawn(move || {
        let line = request.rfile.readline(100).expect("it is open");
        request.wfile.write_all(&line).expect("it is open");
    });
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    echo.join().expect("it does not panic");
}

/// Does nothing, so that the server has hooks to run.
struct Idle;

impl Hooks for Idle {}

#[test]
fn endless_limits_are_no_limits() {
    let server = ThreadingTcpServer::builder()
        .hooks(Idle)
        .timeout(Duration::MAX)
        .poll_interval(Duration::MAX)
        .shutdown_timeout(Duration::MAX)
        .thread_keep_alive(Duration::MAX)
        .read_timeout(Duration::MAX)
        .write_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .max_lifetime(Duration::MAX)
        .bind_fn(ANY, converse)
        .expect("loopback");
    let client = TcpStream::connect(server.server_address()).expect("it listens");
    server.handle_request().expect("a client is there");
    let server = server.serve_in_background().expect("a thread starts");
    for client in [client, connect(server.server_address())] {
        assert_eq!(exchange(&client, "hello\n"), "hello\n");
    }
    let mut idle = connect(server.server_address());
    assert_eq!(exchange(&idle, "hello\n"), "hello\n");
    server.stop().expect("it was asked to");
    assert_eq!(idle.read(&mut [0; 10]).expect("the last line"), 10);
}

/// Echoes lines; each is a request with a deadline of its own.
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
fn each_request_of_a_connection_may_have_a_deadline() {
    let (errors, seen) = channel();
    let server = ThreadingTcpServer::builder().hooks(Watch(errors));
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
    // A request that does not end.
    client.write_all(b"hel").expect("the server reads");
    expect_timeout(&seen, "was not done within");
    assert_eq!(client.read(&mut [0; 10]).unwrap_or(0), 0);
}
