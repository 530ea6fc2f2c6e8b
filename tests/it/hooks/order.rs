//! The hooks: when each of them runs, on which thread, and the consequences of its errors.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};

use socketserver::prelude::*;
use socketserver::{Address, HandlerError, RequestError, ServerHandle, Stage};

use support::concurrent::ConcurrentTcpServer;
use support::event_log::EventLog;
use support::handlers::echo_line;
use support::{ANY, HOUR, connect, exchange, in_background, next, read_all};

/// Hooks that record all calls.
struct RecordAll(EventLog);

impl Hooks for RecordAll {
    fn server_bind(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        self.0.record("server_bind");
        Ok(())
    }

    fn server_activate(&self, _: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
        assert_ne!(address.port(), Some(0));
        self.0.record("server_activate");
        Ok(())
    }

    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.record("verify_request");
        Ok(true)
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {
        self.0.record("handle_error");
    }

    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        self.0.record("service_actions");
        server.shutdown();
        Ok(())
    }

    fn server_close(&self, _: &ServerHandle) {
        self.0.record("server_close");
    }
}

/// A handler that records its steps and fails in `handle`.
struct RecordAndFail(EventLog);

impl RequestHandler for RecordAndFail {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.record("setup");
        Ok(())
    }

    fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.record("handle");
        Err("as always".into())
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.record("finish");
        Ok(())
    }
}

#[test]
fn hooks_and_handler_run_in_their_order() {
    let event_log = EventLog::default();
    let builder = TcpServer::builder()
        .hooks(RecordAll(event_log.clone()))
        .poll_interval(HOUR);
    let for_handlers = event_log.clone();
    let server = builder
        .bind(ANY, move || RecordAndFail(for_handlers.clone()))
        .expect("a port is free");
    let client = connect(server.server_address());
    // `service_actions` of the first loop iteration shuts the server down.
    server.serve_forever().expect("a shutdown is not an error");
    assert_eq!(read_all(client), "");
    server.server_close();
    let expected = "server_bind server_activate verify_request setup handle handle_error finish service_actions server_close";
    assert_eq!(event_log.entries().join(" "), expected);
}

/// Hooks that report the threads of `verify_request` and `handle_error`.
struct ReportThreads(Sender<(&'static str, ThreadId)>);

impl Hooks for ReportThreads {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.send(("verify", thread::current().id()))?;
        Ok(true)
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {
        let report = ("error", thread::current().id());
        self.0.send(report).expect("the test receives it");
    }
}

#[test]
fn handle_error_runs_on_the_thread_that_ran_the_handler() {
    let (reporter, reports) = channel();
    let handlers = reporter.clone();
    let server = ConcurrentTcpServer::builder()
        .hooks(ReportThreads(reporter))
        .bind_fn(ANY, move |_| {
            handlers.send(("handle", thread::current().id()))?;
            Err("as always".into())
        });
    let server = server.expect("a port is free");
    let _client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert_eq!(next(&reports), ("verify", thread::current().id()));
    let (handle, worker) = next(&reports);
    assert_eq!(handle, "handle");
    assert_ne!(worker, thread::current().id());
    assert_eq!(next(&reports), ("error", worker));
}

/// RecordAndFail to verify the first request.
struct FailsToVerify {
    event_log: EventLog,
    errors: Sender<(Stage, String)>,
}

impl Hooks for FailsToVerify {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.event_log.record("verify");
        if self.event_log.count("verify") > 1 {
            return Ok(true);
        }
        request.wfile.write_all(b"sorry")?;
        Err("the list cannot be read".into())
    }

    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        let report = (error.stage(), error.error().to_string());
        self.errors.send(report).expect("the test receives it");
    }
}

#[test]
fn an_error_in_verify_request_refuses_only_that_request() {
    let (errors, reports) = channel();
    let hooks = FailsToVerify {
        event_log: EventLog::default(),
        errors,
    };
    let server = in_background(TcpServer::builder().hooks(hooks).bind_fn(ANY, echo_line));
    assert_eq!(read_all(connect(server.server_address())), "sorry");
    let report = (Stage::Verify, "the list cannot be read".to_owned());
    assert_eq!(next(&reports), report);
    assert_eq!(
        exchange(connect(server.server_address()), "next\n"),
        "next\n"
    );
    server
        .stop()
        .expect("the error of a request does not end serving");
}

/// Hooks that write to each client and refuse it.
struct Refuse;

impl Hooks for Refuse {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        request.wfile.write_all(b"not you")?;
        Ok(false)
    }
}

impl Hooks<DatagramRequest> for Refuse {
    fn verify_request(&self, request: &mut DatagramRequest) -> Result<bool, HandlerError> {
        request.wfile.write_all(b"not you")?;
        Ok(false)
    }
}

#[test]
fn bytes_written_by_verify_request_are_sent_to_a_refused_client() {
    let builder = TcpServer::builder().wbufsize(1024).hooks(Refuse);
    let server = builder.bind_fn(ANY, echo_line).expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert_eq!(read_all(client), "not you");

    let server = UdpServer::builder().hooks(Refuse).bind_fn(ANY, |_| Ok(()));
    let server = server.expect("a port is free");
    let client = support::connect_udp(server.server_address());
    client.send(b"me").expect("the server is bound");
    server.handle_request().expect("one request is served");
    let mut packet = [0; 100];
    let length = client.recv(&mut packet).expect("the server answers");
    assert_eq!(&packet[..length], b"not you");
}

/// RecordAndFail before or after the socket is bound.
struct FailsToStart {
    before: bool,
}

impl Hooks for FailsToStart {
    fn server_bind(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        if self.before {
            Err(io::Error::other("not today"))
        } else {
            Ok(())
        }
    }

    fn server_activate(&self, _: BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        Err(io::Error::other("not today"))
    }
}

#[test]
fn an_error_of_server_bind_or_server_activate_is_returned() {
    for before in [true, false] {
        let (_folder, path) = support::socket_path();
        let builder = UnixStreamServer::builder().hooks(FailsToStart { before });
        let error = builder
            .bind_fn(&path, echo_line)
            .expect_err("the hook failed");
        assert_eq!(error.to_string(), "not today");
        assert!(!path.exists(), "the path is removed");
    }
}
