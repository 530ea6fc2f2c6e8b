//! The idle timeout and the read timeout: which of them applies while a handler waits for a
//! request.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::Stage;
use socketserver::prelude::*;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::handlers::{ReportErrors, ReportedError, expect_timeout, with_error_reports};
use support::{ANY, LONG, connect, connect_unix, exchange, in_background, read_all, socket_path};

/// A short time limit that is going to expire.
const SHORT: Duration = Duration::from_millis(200);

/// A handler that sends lines back until the end of the stream.
fn echo_lines(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        writeln!(request.wfile, "{line}")?;
    }
    Ok(request.wfile.write_all(b"last line\n")?)
}

/// A client that is silent for longer than the read timeout: before the first line, after it, and
/// then inside a line.
fn run_silent_client(mut client: impl Read + Write, seen: &Receiver<ReportedError>) {
    for _ in 0..2 {
        thread::sleep(3 * SHORT);
        assert_eq!(exchange(&mut client, "hello\n"), "hello\n");
    }
    client.write_all(b"hel").expect("the server reads");
    expect_timeout(seen, Stage::Handle, "nothing received");
    assert_eq!(read_all(client), "");
}

#[test]
fn the_read_timeout_applies_inside_a_request_only() {
    for idle in [LONG, Duration::MAX] {
        let builder = ConcurrentTcpServer::builder().read_timeout(SHORT);
        let (server, seen) = with_error_reports(builder.idle_timeout(idle), ANY, echo_lines);
        run_silent_client(connect(server.server_address()), &seen);
    }
}

#[test]
fn the_read_timeout_applies_inside_a_request_only_over_unix_sockets() {
    let (_folder, path) = socket_path();
    let path = path.to_str().expect("the path is UTF-8");
    let builder = ConcurrentUnixStreamServer::builder().read_timeout(SHORT);
    let (server, seen) = with_error_reports(builder.idle_timeout(Duration::MAX), path, echo_lines);
    run_silent_client(connect_unix(server.server_address()), &seen);
}

#[test]
fn an_idle_timeout_longer_than_the_read_timeout_ends_quietly() {
    let builder = ConcurrentTcpServer::builder().read_timeout(SHORT / 4);
    let (server, seen) = with_error_reports(builder.idle_timeout(2 * SHORT), ANY, echo_lines);
    let client = connect(server.server_address());
    let started = Instant::now();
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    assert_eq!(read_all(client), "last line\n");
    assert!(started.elapsed() >= 2 * SHORT);
    server.stop().expect("serving ends without an error");
    assert_eq!(seen.try_recv().ok(), None);
}

#[test]
fn without_an_idle_timeout_the_read_timeout_applies() {
    let (server, seen) = with_error_reports(
        ConcurrentTcpServer::builder().read_timeout(SHORT),
        ANY,
        echo_lines,
    );
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    expect_timeout(&seen, Stage::Handle, "nothing received");
    assert_eq!(read_all(client), "");
}

#[test]
fn shutdown_and_max_lifetime_end_an_idle_connection() {
    let builder = || {
        let builder = ConcurrentTcpServer::builder().read_timeout(SHORT / 4);
        builder.idle_timeout(Duration::MAX)
    };
    let (server, _) = with_error_reports(builder(), ANY, echo_lines);
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    thread::sleep(SHORT);
    server.stop().expect("serving ends without an error");
    assert_eq!(read_all(client), "last line\n");
    let (server, seen) = with_error_reports(builder().max_lifetime(SHORT), ANY, echo_lines);
    let _client = connect(server.server_address());
    expect_timeout(&seen, Stage::Handle, "was not done within 200ms");
}

/// The idle timeout only applies while the handler of the server runs.
#[test]
fn the_read_timeout_applies_to_a_detached_request() {
    let (errors, seen) = channel();
    let (detached, kept) = channel();
    let server = ConcurrentTcpServer::builder()
        .idle_timeout(Duration::MAX)
        .read_timeout(SHORT)
        .hooks(WaitInVerify(ReportErrors(errors)))
        .bind_fn(ANY, move |request| {
            detached.send(request.detach()).map_err(|e| e.to_string())?;
            Ok(())
        });
    let server = in_background(server);
    let _silent = connect(server.server_address());
    expect_timeout(&seen, Stage::Verify, "nothing received");
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n").expect("the server reads");
    let mut request = kept
        .recv_timeout(LONG)
        .expect("the handler detaches the request");
    let (report, reports) = channel();
    thread::spawn(move || report.send(request.wait_for_data()));
    let waited = reports.recv_timeout(LONG).expect("the call does not block");
    let error = waited.expect_err("the client sends nothing");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// Hooks whose `verify_request` waits for a line.
struct WaitInVerify(ReportErrors);

impl Hooks for WaitInVerify {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        request.set_read_timeout(Some(SHORT))?;
        Ok(request.next_line()?.is_some())
    }

    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        self.0.handle_error(request, error);
    }
}

#[test]
fn wait_for_data_does_not_wait_on_a_nonblocking_socket() {
    let (reporter, received) = channel();
    let builder = ConcurrentTcpServer::builder()
        .idle_timeout(Duration::MAX)
        .read_timeout(LONG);
    let server = builder.bind_fn(ANY, move |request| {
        socket2::SockRef::from(&*request).set_nonblocking(true)?;
        let waited = request.wait_for_data().map_err(|e| e.kind());
        Ok(reporter.send(waited)?)
    });
    let server = in_background(server);
    let _client = connect(server.server_address());
    let waited = received.recv_timeout(SHORT * 10).expect("the call returns");
    assert_eq!(waited, Err(ErrorKind::TimedOut));
}
