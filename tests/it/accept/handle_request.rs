//! `handle_request` serves one request, or returns after the timeout.

use std::thread;
use std::time::{Duration, Instant};

use socketserver::ServerHandle;
use socketserver::prelude::*;

use support::event_log::EventLog;
use support::handlers::echo_line;
use support::{ANY, LONG, connect, exchange, join_soon, read_all};

const SHORT: Duration = Duration::from_millis(30);

struct RecordTimeouts(EventLog);

impl Hooks for RecordTimeouts {
    fn handle_timeout(&self, server: &ServerHandle) {
        self.0
            .record(format!("timeout on {}", server.server_address()));
    }
}

fn bind(
    timeout: Duration,
    handle: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
) -> (TcpServer, EventLog) {
    let event_log = EventLog::default();
    let builder = TcpServer::builder()
        .hooks(RecordTimeouts(event_log.clone()))
        .timeout(timeout);
    (
        builder.bind_fn(ANY, handle).expect("a port is free"),
        event_log,
    )
}

#[test]
fn handle_timeout_runs_at_the_timeout() {
    let (server, event_log) = bind(SHORT, echo_line);
    let begun = Instant::now();
    server.handle_request().expect("a timeout is not an error");
    assert!(begun.elapsed() >= SHORT);
    let timeout = format!("timeout on {}", server.server_address());
    assert_eq!(event_log.entries(), [timeout]);
}

#[test]
fn a_timeout_of_zero_serves_a_pending_client_and_does_not_wait() {
    let (server, event_log) = bind(Duration::ZERO, |request| {
        Ok(request.wfile.write_all(b"hi")?)
    });
    server.handle_request().expect("a timeout is not an error");
    assert_eq!(event_log.entries().len(), 1);
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert_eq!(event_log.entries().len(), 1);
    assert_eq!(read_all(client), "hi");
}

#[test]
fn handle_timeout_does_not_run_if_a_client_connects_in_time() {
    let (server, event_log) = bind(LONG, echo_line);
    let address = server.server_address().clone();
    let serving = thread::spawn(move || server.handle_request());
    assert_eq!(exchange(connect(&address), "hi\n"), "hi\n");
    join_soon(serving).expect("one request is served");
    assert_eq!(event_log.entries(), [""; 0]);
}

#[test]
fn the_timeout_does_not_limit_the_handler() {
    let (server, event_log) = bind(SHORT, |request| {
        // The sleep is longer than the timeout.
        thread::sleep(3 * SHORT);
        Ok(request.wfile.write_all(b"late")?)
    });
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert_eq!(read_all(client), "late");
    assert_eq!(event_log.entries(), [""; 0]);
}

#[test]
fn the_timeout_does_not_limit_a_client_that_sends_late() {
    let (server, event_log) = bind(SHORT, echo_line);
    let mut client = connect(server.server_address());
    let serving = thread::spawn(move || server.handle_request());
    thread::sleep(3 * SHORT);
    client.write_all(b"hello\n").expect("the server reads");
    assert_eq!(read_all(client), "hello\n");
    join_soon(serving).expect("one request is served");
    assert_eq!(event_log.entries(), [""; 0]);
}

#[test]
fn each_call_serves_one_request() {
    let (server, _event_log) = bind(Duration::ZERO, |request| {
        Ok(write!(
            request.wfile,
            "number {}",
            request.server.server_address()
        )?)
    });
    let first = connect(server.server_address());
    let second = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert!(read_all(first).starts_with("number"));
    second.set_nonblocking(true).expect("the option is set");
    let nothing = (&second).read(&mut [0]).map_err(|e| e.kind());
    assert_eq!(nothing, Err(std::io::ErrorKind::WouldBlock));
    second.set_nonblocking(false).expect("the option is set");
    server.handle_request().expect("a second request is served");
    assert!(read_all(second).starts_with("number"));
}

#[test]
fn handle_timeout_does_not_run_after_a_shutdown() {
    let (server, event_log) = bind(LONG, echo_line);
    server.shutdown();
    server.handle_request().expect("a shutdown is not an error");
    assert_eq!(event_log.entries(), [""; 0]);
}
