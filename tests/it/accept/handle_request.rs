//! `handle_request`: one request, or one timeout.

use std::thread;
use std::time::{Duration, Instant};

use socketserver::ServerHandle;
use socketserver::prelude::*;

use support::journal::Journal;
use support::{ANY, LONG, connect, exchange, join_soon, read_all};

const SHORT: Duration = Duration::from_millis(30);

struct NoteTimeouts(Journal);

impl Hooks for NoteTimeouts {
    fn handle_timeout(&self, server: &ServerHandle) {
        self.0
            .note(format!("timeout on {}", server.server_address()));
    }
}

fn bind(
    timeout: Duration,
    handle: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
) -> (TcpServer, Journal) {
    let journal = Journal::default();
    let builder = TcpServer::builder()
        .hooks(NoteTimeouts(journal.clone()))
        .timeout(timeout);
    (
        builder.bind_fn(ANY, handle).expect("a port is free"),
        journal,
    )
}

fn echo(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(1024)?;
    Ok(request.wfile.write_all(&line)?)
}

#[test]
fn handle_timeout_runs_when_no_client_came_in_time() {
    let (server, journal) = bind(SHORT, echo);
    let begun = Instant::now();
    server.handle_request().expect("a timeout is no error");
    assert!(begun.elapsed() >= SHORT);
    let timeout = format!("timeout on {}", server.server_address());
    assert_eq!(journal.entries(), [timeout]);
}

#[test]
fn a_timeout_of_zero_serves_a_client_that_waits_and_does_not_wait_for_one() {
    let (server, journal) = bind(Duration::ZERO, |request| {
        Ok(request.wfile.write_all(b"hi")?)
    });
    server.handle_request().expect("a timeout is no error");
    assert_eq!(journal.entries().len(), 1);
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(journal.entries().len(), 1);
    assert_eq!(read_all(client), "hi");
}

#[test]
fn a_request_in_time_is_served_and_is_no_timeout() {
    let (server, journal) = bind(LONG, echo);
    let address = server.server_address().clone();
    let serving = thread::spawn(move || server.handle_request());
    assert_eq!(exchange(connect(&address), "hi\n"), "hi\n");
    join_soon(serving).expect("there is one");
    assert_eq!(journal.entries(), [""; 0]);
}

#[test]
fn the_timeout_limits_the_wait_and_not_the_handler() {
    let (server, journal) = bind(SHORT, |request| {
        // Here time itself is what is tested.
        thread::sleep(3 * SHORT);
        Ok(request.wfile.write_all(b"late")?)
    });
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(read_all(client), "late");
    assert_eq!(journal.entries(), [""; 0]);
}

#[test]
fn the_timeout_does_not_limit_a_client_that_sends_late() {
    let (server, journal) = bind(SHORT, echo);
    let mut client = connect(server.server_address());
    let serving = thread::spawn(move || server.handle_request());
    thread::sleep(3 * SHORT);
    client.write_all(b"at last\n").expect("the server reads");
    assert_eq!(read_all(client), "at last\n");
    join_soon(serving).expect("there is one");
    assert_eq!(journal.entries(), [""; 0]);
}

#[test]
fn each_call_serves_one_request() {
    let (server, _journal) = bind(Duration::ZERO, |request| {
        Ok(write!(
            request.wfile,
            "number {}",
            request.server.server_address()
        )?)
    });
    let first = connect(server.server_address());
    let second = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert!(read_all(first).starts_with("number"));
    second.set_nonblocking(true).expect("it can be set");
    let nothing = (&second).read(&mut [0]).map_err(|e| e.kind());
    assert_eq!(nothing, Err(std::io::ErrorKind::WouldBlock));
    second.set_nonblocking(false).expect("it can be set");
    server.handle_request().expect("there is another");
    assert!(read_all(second).starts_with("number"));
}

#[test]
fn a_shutdown_is_no_timeout() {
    let (server, journal) = bind(LONG, echo);
    server.shutdown();
    server.handle_request().expect("a shutdown is no error");
    assert_eq!(journal.entries(), [""; 0]);
}
