//! Log levels of errors in handlers: debug if the client has disconnected, otherwise error.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use log::Level;
use socketserver::prelude::*;
use socketserver::{HandlerError, RequestError};

use support::logs::Logs;
use support::{ANY, connect, join_soon, next, reset};

/// The log lines about the request from this client's address.
fn logged_of(logs: &Logs, client: &str) -> Vec<(Level, String)> {
    let mut lines = logs.with(client);
    lines.retain(|(_, line)| line.starts_with("socketserver::handler: "));
    lines
}

/// Serves one client, which `leave` closes, and returns the log lines about it.
fn logged(
    handle: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
    leave: impl FnOnce(TcpStream),
) -> Vec<(Level, String)> {
    let logs = Logs::from_here();
    let server = TcpServer::bind_fn(ANY, handle).expect("a port is free");
    let client = connect(server.server_address());
    let address = client
        .local_addr()
        .expect("the socket is connected")
        .to_string();
    let serving = thread::spawn(move || server.handle_request());
    leave(client);
    join_soon(serving).expect("a disconnect does not end the server");
    logged_of(&logs, &format!("from {address}: "))
}

/// Checks that only one line with this level was logged, and returns it.
fn single_line(logged: &[(Level, String)], level: Level) -> &str {
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, level);
    &logged[0].1
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

/// A handler that writes until a write fails.
fn write_until_error(request: &mut StreamRequest, left: &Mutex<Receiver<()>>) -> io::Result<()> {
    request.rfile.readline(100)?;
    next(&left.lock().expect("one handler at a time"));
    loop {
        request.wfile.write_all(b"more data\n")?;
    }
}

#[test]
fn a_broken_pipe_is_logged_at_debug_level() {
    let (reporter, left) = channel();
    let left = Mutex::new(left);
    let logged = logged(
        move |request| Ok(write_until_error(request, &left)?),
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
fn a_wrapped_disconnect_error_is_logged_at_debug_level() {
    let (reporter, left) = channel();
    let left = Mutex::new(left);
    let logged = logged(
        move |request| Ok(write_until_error(request, &left).map_err(Wrapped)?),
        |mut client| {
            client.write_all(b"begun\n").expect("the server reads");
            drop(client);
            reporter.send(()).expect("the handler waits");
        },
    );
    let line = single_line(&logged, Level::Debug);
    let text = "handle failed: could not write: ";
    assert!(line.contains(text), "{line}");
}

#[test]
fn other_errors_are_logged_at_error_level() {
    let fail = |_: &mut StreamRequest| Err(HandlerError::from("out of paper"));
    let logged = logged(fail, drop);
    let line = single_line(&logged, Level::Error);
    assert!(line.ends_with(": handle failed: out of paper"), "{line}");
}

#[test]
fn a_panic_is_logged_at_error_level_with_its_message() {
    let logged = logged(|_| panic!("out of {}", "ink"), drop);
    let line = single_line(&logged, Level::Error);
    let end = ": handle failed: panicked: out of ink";
    assert!(line.ends_with(end), "{line}");
}

#[test]
fn a_finished_request_logs_no_error() {
    let logged = logged(
        |request| Ok(request.wfile.write_all(b"hi")?),
        |client| {
            assert_eq!(support::read_all(client), "hi");
        },
    );
    assert_eq!(logged, []);
}

/// Hooks that ignore one kind of error, and log the others as the default does.
struct Filter;

impl Hooks for Filter {
    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        if error.io_kind() != Some(io::ErrorKind::NotFound) {
            error.log(request);
        }
    }
}

#[test]
fn handle_error_can_filter_errors_by_kind() {
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
            .expect("the kernel buffers it");
        server.handle_request().expect("one request is served");
        let address = client.local_addr().expect("the socket is connected");
        lines.push(logged_of(&logs, &format!("from {address}: ")).len());
    }
    assert_eq!(lines, [0, 1]);
}
