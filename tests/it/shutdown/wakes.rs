//! `shutdown` wakes a sleeping server at once, from wherever it is called.

use std::io;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{HandlerError, RequestError, ServerHandle};

use support::journal::Journal;
use support::{ANY, LONG, connect, exchange, in_background, join_soon, next, read_all};

/// Never comes in a test.
const HOUR: Duration = Duration::from_secs(3600);

fn echo(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(1024)?;
    Ok(request.wfile.write_all(&line)?)
}

struct NoteTurns(Journal);

impl Hooks for NoteTurns {
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        self.0.note("turn");
        Ok(())
    }
}

#[test]
fn shutdown_wakes_a_server_whose_poll_interval_is_an_hour() {
    let journal = Journal::default();
    let builder = TcpServer::builder()
        .hooks(NoteTurns(journal.clone()))
        .poll_interval(HOUR);
    let server = builder.bind_fn(ANY, echo).expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    // The turn is over: the server is asleep, or about to be.
    assert_eq!(exchange(connect(handle.server_address()), "hi\n"), "hi\n");
    journal.wait_for("turn");
    handle.shutdown();
    join_soon(serving).expect("a shutdown is no error");
}

#[test]
fn shutdown_wakes_a_handle_request_that_waits_for_ever() {
    let server = TcpServer::bind_fn(ANY, echo).expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || server.handle_request());
    handle.shutdown();
    join_soon(serving).expect("a shutdown is no error");
}

#[test]
fn shutdown_is_noticed_while_the_pool_is_full() {
    let (tell, inside) = channel();
    let builder = ThreadingTcpServer::builder().max_threads(1);
    let server = builder.bind_fn(ANY, move |request| {
        tell.send(())?;
        request.rfile.readline(10)?;
        request.rfile.readline(10)?;
        Ok(())
    });
    let server = server.expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || (server.serve_forever(), server));
    let mut busy = connect(handle.server_address());
    busy.write_all(b"begun\n").expect("the server reads");
    next(&inside);
    handle.shutdown();
    let (served, server) = join_soon(serving);
    served.expect("a shutdown is no error");
    drop(busy);
    server.server_close();
}

#[test]
fn shutdown_lets_a_running_request_end() {
    let (tell, inside) = channel();
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        let first = request.rfile.readline(100)?;
        tell.send(())?;
        let second = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&[first, second].concat())?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"one ").expect("the server reads");
    client.write_all(b"line\n").expect("the server reads");
    next(&inside);
    server.handle().shutdown();
    server.handle().wait();
    client
        .write_all(b"and another\n")
        .expect("the server reads");
    assert_eq!(read_all(client), "one line\nand another\n");
    server.stop().expect("a shutdown is no error");
}

/// Shuts the server down in the hook of this name.
struct ShutsDown(&'static str);

impl ShutsDown {
    fn in_hook(&self, name: &str, server: &ServerHandle) {
        if self.0 == name {
            server.shutdown();
        }
    }
}

impl Hooks for ShutsDown {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.in_hook("verify_request", &request.server);
        Ok(true)
    }

    fn handle_error(&self, request: &mut StreamRequest, _: &RequestError) {
        self.in_hook("handle_error", &request.server);
    }

    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        self.in_hook("service_actions", server);
        Ok(())
    }
}

fn ends_from(hook: &'static str) {
    let builder = TcpServer::builder()
        .hooks(ShutsDown(hook))
        .poll_interval(HOUR);
    let server = builder.bind_fn(ANY, |_| Err("so that there is an error to handle".into()));
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    let serving = thread::spawn(move || server.serve_forever());
    join_soon(serving).expect("a shutdown is no error");
    assert_eq!(read_all(client), "");
}

#[test]
fn shutdown_from_verify_request_ends_serving() {
    ends_from("verify_request");
}

#[test]
fn shutdown_from_handle_error_ends_serving() {
    ends_from("handle_error");
}

#[test]
fn shutdown_from_service_actions_ends_serving() {
    ends_from("service_actions");
}

#[test]
fn shutdown_ends_connections_on_which_nothing_was_received() {
    let (tell, inside) = channel();
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        tell.send(())?;
        echo(request)
    });
    let server = in_background(server);
    let silent = connect(server.server_address());
    next(&inside);
    let stopping = thread::spawn(move || server.stop());
    join_soon(stopping).expect("a shutdown is no error");
    assert_eq!(read_all(silent), "");
}

#[test]
fn a_guard_that_its_own_handler_drops_does_not_wait_for_itself() {
    let (give, guard) = channel::<socketserver::BackgroundServer>();
    let guard = std::sync::Mutex::new(guard);
    let server = TcpServer::bind_fn(ANY, move |request| {
        drop(
            guard
                .lock()
                .expect("one handler at a time")
                .recv_timeout(LONG)?,
        );
        Ok(request.wfile.write_all(b"dropped")?)
    });
    let server = in_background(server);
    let handle = server.handle();
    let client = connect(server.server_address());
    give.send(server).expect("the handler waits");
    assert_eq!(read_all(client), "dropped");
    let waiting = thread::spawn(move || handle.wait());
    join_soon(waiting);
}
