//! The hook `service_actions`: it runs in every iteration of the accept loop, and can end it.

use std::io;
use std::thread;
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{HandlerError, ServerHandle};

use support::event_log::EventLog;
use support::handlers::echo_line;
use support::{ANY, HOUR, connect, eventually, exchange, in_background, join_soon};

/// Hooks that record each loop iteration, and fail in one of them.
struct RecordIterations {
    event_log: EventLog,
    fail_at: usize,
}

impl Hooks for RecordIterations {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.event_log.record("request");
        Ok(true)
    }

    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        self.event_log.record("iteration");
        if self.event_log.count("iteration") == self.fail_at {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "disk full"));
        }
        Ok(())
    }
}

#[test]
fn service_actions_runs_after_each_request_and_before_serving_ends() {
    let event_log = EventLog::default();
    let hooks = RecordIterations {
        event_log: event_log.clone(),
        fail_at: usize::MAX,
    };
    let builder = TcpServer::builder().hooks(hooks).poll_interval(HOUR);
    let server = in_background(builder.bind_fn(ANY, echo_line));
    for _ in 0..3 {
        assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
    }
    server.stop().expect("a shutdown is not an error");
    let events = event_log.entries().join(" ");
    // If the shutdown comes after the end of the third iteration, there is a fourth.
    let three = ["request iteration"; 3].join(" ");
    assert!(
        events == three || events == format!("{three} iteration"),
        "{events}"
    );
}

#[test]
fn service_actions_runs_every_poll_interval_without_requests() {
    let event_log = EventLog::default();
    let hooks = RecordIterations {
        event_log: event_log.clone(),
        fail_at: usize::MAX,
    };
    let builder = TcpServer::builder()
        .hooks(hooks)
        .poll_interval(Duration::from_millis(1));
    let server = in_background(builder.bind_fn(ANY, echo_line));
    eventually("five iterations", || event_log.count("iteration") >= 5);
    server.stop().expect("a shutdown is not an error");
}

#[test]
fn serve_forever_returns_the_error_of_service_actions() {
    let hooks = RecordIterations {
        event_log: EventLog::default(),
        fail_at: 2,
    };
    let builder = TcpServer::builder()
        .hooks(hooks)
        .poll_interval(Duration::from_millis(1));
    let server = builder.bind_fn(ANY, echo_line).expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || (server.serve_forever(), server));
    let (served, server) = join_soon(serving);
    let error = served.expect_err("the hook failed");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::StorageFull, "disk full")
    );

    // The server was not shut down, so it can be served again.
    assert!(!handle.is_shutting_down());
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    assert_eq!(
        exchange(connect(handle.server_address()), "again\n"),
        "again\n"
    );
    server.stop().expect("a shutdown is not an error");
}
