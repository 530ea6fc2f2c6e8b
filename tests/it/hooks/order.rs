//! The hooks: when each runs, on which thread, and what its errors lead to.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, ThreadId};
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{Address, HandlerError, RequestError, ServerHandle, Stage};

use support::journal::Journal;
use support::{ANY, connect, exchange, in_background, next, read_all};

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

fn echo(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(1024)?;
    Ok(request.wfile.write_all(&line)?)
}

/// Notes everything.
struct NoteAll(Journal);

impl Hooks for NoteAll {
    fn server_bind(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        self.0.note("server_bind");
        Ok(())
    }

    fn server_activate(&self, _: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
        assert_ne!(address.port(), Some(0));
        self.0.note("server_activate");
        Ok(())
    }

    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.note("verify_request");
        Ok(true)
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {
        self.0.note("handle_error");
    }

    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        self.0.note("service_actions");
        server.shutdown();
        Ok(())
    }

    fn server_close(&self, _: &ServerHandle) {
        self.0.note("server_close");
    }
}

/// Notes its steps and fails in `handle`.
struct Fails(Journal);

impl RequestHandler for Fails {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.note("setup");
        Ok(())
    }

    fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.note("handle");
        Err("as always".into())
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.note("finish");
        Ok(())
    }
}

#[test]
fn hooks_and_handler_run_in_their_order() {
    let journal = Journal::default();
    let builder = TcpServer::builder()
        .hooks(NoteAll(journal.clone()))
        .poll_interval(HOUR);
    let for_handlers = journal.clone();
    let server = builder
        .bind(ANY, move || Fails(for_handlers.clone()))
        .expect("a port is free");
    let client = connect(server.server_address());
    // The first turn's `service_actions` ends it.
    server.serve_forever().expect("a shutdown is no error");
    assert_eq!(read_all(client), "");
    server.server_close();
    let expected = "server_bind server_activate verify_request setup handle handle_error finish service_actions server_close";
    assert_eq!(journal.entries().join(" "), expected);
}

/// Reports the threads in which requests are verified and errors handled.
struct TellThreads(Sender<(&'static str, ThreadId)>);

impl Hooks for TellThreads {
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
    let server = ThreadingTcpServer::builder()
        .hooks(TellThreads(reporter))
        .bind_fn(ANY, move |_| {
            handlers.send(("handle", thread::current().id()))?;
            Err("as always".into())
        });
    let server = server.expect("a port is free");
    let _client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(next(&reports), ("verify", thread::current().id()));
    let (handle, worker) = next(&reports);
    assert_eq!(handle, "handle");
    assert_ne!(worker, thread::current().id());
    assert_eq!(next(&reports), ("error", worker));
}

/// Fails to verify the first request.
struct FailsToVerify {
    journal: Journal,
    errors: Sender<(Stage, String)>,
}

impl Hooks for FailsToVerify {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.journal.note("verify");
        if self.journal.count("verify") > 1 {
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
fn an_error_in_verify_request_refuses_the_request_and_serving_goes_on() {
    let (errors, reports) = channel();
    let hooks = FailsToVerify {
        journal: Journal::default(),
        errors,
    };
    let server = in_background(TcpServer::builder().hooks(hooks).bind_fn(ANY, echo));
    assert_eq!(read_all(connect(server.server_address())), "sorry");
    let report = (Stage::Verify, "the list cannot be read".to_owned());
    assert_eq!(next(&reports), report);
    assert_eq!(
        exchange(connect(server.server_address()), "next\n"),
        "next\n"
    );
    server
        .stop()
        .expect("a request's error is not the server's");
}

/// Writes something to each client and refuses it.
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
fn what_verify_request_writes_is_sent_to_a_refused_client() {
    let builder = TcpServer::builder().wbufsize(1024).hooks(Refuse);
    let server = builder.bind_fn(ANY, echo).expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(read_all(client), "not you");

    let server = UdpServer::builder().hooks(Refuse).bind_fn(ANY, |_| Ok(()));
    let server = server.expect("a port is free");
    let client = support::connect_udp(server.server_address());
    client.send(b"me").expect("the server is bound");
    server.handle_request().expect("there is one");
    let mut packet = [0; 100];
    let length = client.recv(&mut packet).expect("the server answers");
    assert_eq!(&packet[..length], b"not you");
}

/// Fails before or after the socket is bound.
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
fn an_error_of_server_bind_or_server_activate_ends_the_construction() {
    for before in [true, false] {
        let (_folder, path) = support::socket_path();
        let builder = UnixStreamServer::builder().hooks(FailsToStart { before });
        let error = builder.bind_fn(&path, echo).expect_err("the hook failed");
        assert_eq!(error.to_string(), "not today");
        assert!(!path.exists(), "nothing is left");
    }
}
