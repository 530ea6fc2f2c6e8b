//! The hook `service_actions`: on every turn of the loop, and able to end it.

use std::io;
use std::thread;
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{HandlerError, ServerHandle};

use support::journal::Journal;
use support::{ANY, connect, eventually, exchange, in_background, join_soon};

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

fn echo(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(1024)?;
    Ok(request.wfile.write_all(&line)?)
}

/// Notes each turn, and fails at one of them.
struct Turns {
    journal: Journal,
    fail_at: usize,
}

impl Hooks for Turns {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.journal.note("request");
        Ok(true)
    }

    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        self.journal.note("turn");
        if self.journal.count("turn") == self.fail_at {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "disk full"));
        }
        Ok(())
    }
}

#[test]
fn service_actions_runs_after_each_request_and_before_serving_ends() {
    let journal = Journal::default();
    let hooks = Turns {
        journal: journal.clone(),
        fail_at: usize::MAX,
    };
    let builder = TcpServer::builder().hooks(hooks).poll_interval(HOUR);
    let server = in_background(builder.bind_fn(ANY, echo));
    for _ in 0..3 {
        assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
    }
    server.stop().expect("a shutdown is no error");
    let turns = journal.entries().join(" ");
    // The shutdown may come before or after the third turn's end, and makes a turn of its own then.
    let three = ["request turn"; 3].join(" ");
    assert!(
        turns == three || turns == format!("{three} turn"),
        "{turns}"
    );
}

#[test]
fn service_actions_runs_every_poll_interval_without_any_request() {
    let journal = Journal::default();
    let hooks = Turns {
        journal: journal.clone(),
        fail_at: usize::MAX,
    };
    let builder = TcpServer::builder()
        .hooks(hooks)
        .poll_interval(Duration::from_millis(1));
    let server = in_background(builder.bind_fn(ANY, echo));
    eventually("five turns", || journal.count("turn") >= 5);
    server.stop().expect("a shutdown is no error");
}

#[test]
fn an_error_of_service_actions_ends_serve_forever_and_is_returned() {
    let hooks = Turns {
        journal: Journal::default(),
        fail_at: 2,
    };
    let builder = TcpServer::builder()
        .hooks(hooks)
        .poll_interval(Duration::from_millis(1));
    let server = builder.bind_fn(ANY, echo).expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || (server.serve_forever(), server));
    let (served, server) = join_soon(serving);
    let error = served.expect_err("the hook failed");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::StorageFull, "disk full")
    );

    // That was no shutdown: it can be served again.
    assert!(!handle.is_shutting_down());
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    assert_eq!(
        exchange(connect(handle.server_address()), "again\n"),
        "again\n"
    );
    server.stop().expect("a shutdown is no error");
}
