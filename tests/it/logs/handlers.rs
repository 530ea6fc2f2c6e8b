//! How errors in handlers are logged: at debug level if the client has closed, else at error level.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use log::Level;
use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{HandlerError, RequestError};

use support::logs::Logs;
use support::{ANY, connect, join_soon, next};

/// What is logged of the request from this client's address.
fn logged_of(logs: &Logs, client: &str) -> Vec<(Level, String)> {
    let mut lines = logs.with(client);
    lines.retain(|(_, line)| line.starts_with("socketserver::handler: "));
    lines
}

/// Serves one client of the handler, which `leave` closes in some way, and returns what is logged.
fn logged(
    handle: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
    leave: impl FnOnce(TcpStream),
) -> Vec<(Level, String)> {
    let logs = Logs::from_here();
    let server = TcpServer::bind_fn(ANY, handle).expect("a port is free");
    let client = connect(server.server_address());
    let address = client.local_addr().expect("it is connected").to_string();
    let serving = thread::spawn(move || server.handle_request());
    leave(client);
    join_soon(serving).expect("a disconnect does not end the server");
    logged_of(&logs, &format!("from {address}: "))
}

/// Closing sends a reset.
fn reset(client: TcpStream) {
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("it can be set");
}

#[test]
fn a_reset_while_reading_is_logged_at_debug_level() {
    let logged = logged(
        |request| {
            request.rfile.readline(100)?;
            request.rfile.readline(100)?;
            Ok(())
        },
        |mut client| {
            client.write_all(b"begun\n").expect("the server reads");
            reset(client);
        },
    );
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, Level::Debug);
    assert!(logged[0].1.contains("handle failed"), "{logged:?}");
}

/// Writes until it fails.
fn write_on(request: &mut StreamRequest, left: &Mutex<Receiver<()>>) -> io::Result<()> {
    request.rfile.readline(100)?;
    next(&left.lock().expect("one handler at a time"));
    loop {
        request.wfile.write_all(b"on and on\n")?;
    }
}

#[test]
fn a_broken_pipe_is_logged_at_debug_level() {
    let (reporter, left) = channel();
    let left = Mutex::new(left);
    let logged = logged(
        move |request| Ok(write_on(request, &left)?),
        |mut client| {
            client.write_all(b"begun\n").expect("the server reads");
            drop(client);
            reporter.send(()).expect("the handler waits");
        },
    );
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, Level::Debug);
}

#[derive(Debug)]
struct Wrapped(io::Error);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("could not write")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn a_disconnect_inside_another_error_is_one_too() {
    let (reporter, left) = channel();
    let left = Mutex::new(left);
    let logged = logged(
        move |request| Ok(write_on(request, &left).map_err(Wrapped)?),
        |mut client| {
            client.write_all(b"begun\n").expect("the server reads");
            drop(client);
            reporter.send(()).expect("the handler waits");
        },
    );
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, Level::Debug);
    assert!(
        logged[0].1.contains("handle failed: could not write: "),
        "{logged:?}"
    );
}

#[test]
fn other_errors_are_logged_at_error_level() {
    let fail = |_: &mut StreamRequest| Err(HandlerError::from("out of paper"));
    let logged = logged(fail, drop);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, Level::Error);
    assert!(
        logged[0].1.ends_with(": handle failed: out of paper"),
        "{logged:?}"
    );
}

#[test]
fn a_panic_is_logged_at_error_level_with_its_message() {
    let logged = logged(|_| panic!("out of {}", "ink"), drop);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, Level::Error);
    assert!(
        logged[0]
            .1
            .ends_with(": handle failed: panicked: out of ink"),
        "{logged:?}"
    );
}

#[test]
fn a_request_that_finishes_is_not_logged_by_its_handler() {
    let logged = logged(
        |request| Ok(request.wfile.write_all(b"hi")?),
        |client| {
            assert_eq!(support::read_all(client), "hi");
        },
    );
    assert_eq!(logged, []);
}

/// Ignores one kind of error, and leaves the others to the default.
struct Filter;

impl Hooks for Filter {
    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        if error.io_kind() != Some(io::ErrorKind::NotFound) {
            error.log(request);
        }
    }
}

#[test]
fn handle_error_can_filter_by_kind_and_leave_the_rest_to_the_default() {
    let logs = Logs::from_here();
    let server = TcpServer::builder().hooks(Filter).bind_fn(ANY, |request| {
        let kind = match request.rfile.readline(100)?.as_slice() {
            b"missing\n" => io::ErrorKind::NotFound,
            _ => io::ErrorKind::PermissionDenied,
        };
        Err(io::Error::from(kind).into())
    });
    let server = server.expect("a port is free");
    let mut lines = Vec::new();
    for question in ["missing\n", "forbidden\n"] {
        let mut client = connect(server.server_address());
        client
            .write_all(question.as_bytes())
            .expect("the connection is queued");
        server.handle_request().expect("there is one");
        let address = client.local_addr().expect("it is connected");
        lines.push(logged_of(&logs, &format!("from {address}: ")).len());
    }
    assert_eq!(lines, [0, 1]);
}
