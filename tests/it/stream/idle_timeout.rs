//! The idle timeout and the read timeout: which of them holds while a handler waits for a request.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;

use support::handlers::{Seen, Watch, watched};
use support::{ANY, LONG, connect, connect_unix, exchange, in_background, read_all, socket_path};

/// Short, for what is going to end.
const SHORT: Duration = Duration::from_millis(200);

/// Answers lines until there are no more.
fn converse(request: &mut StreamRequest) -> HandlerResult {
    while let Some(line) = request.next_line()? {
        writeln!(request.wfile, "{line}")?;
    }
    Ok(request.wfile.write_all(b"last line\n")?)
}

fn expect_timeout(seen: &Receiver<Seen>, text: &str) {
    let seen = seen.recv_timeout(LONG).expect("an error");
    assert_eq!(seen.kind, Some(ErrorKind::TimedOut));
    assert!(seen.text.contains(text), "{}", seen.text);
}

/// Is silent for longer than the read timeout, before the first line and after it; then inside one.
fn be_silent(mut client: impl Read + Write, seen: &Receiver<Seen>) {
    for _ in 0..2 {
        thread::sleep(3 * SHORT);
        assert_eq!(exchange(&mut client, "hello\n"), "hello\n");
    }
    client.write_all(b"hel").expect("the server reads");
    expect_timeout(seen, "nothing received");
    assert_eq!(read_all(client), "");
}

#[test]
fn the_read_timeout_is_for_the_parts_of_a_request() {
    for idle in [LONG, Duration::MAX] {
        let builder = ThreadingTcpServer::builder().read_timeout(SHORT);
        let (server, seen) = watched(builder.idle_timeout(idle), ANY, converse);
        be_silent(connect(server.server_address()), &seen);
    }
}

#[test]
fn over_unix_sockets_too() {
    let (_folder, path) = socket_path();
    let path = path.to_str().expect("temporary folders have plain names");
    let builder = ThreadingUnixStreamServer::builder().read_timeout(SHORT);
    let (server, seen) = watched(builder.idle_timeout(Duration::MAX), path, converse);
    be_silent(connect_unix(server.server_address()), &seen);
}

#[test]
fn an_idle_timeout_longer_than_the_read_timeout_ends_quietly() {
    let builder = ThreadingTcpServer::builder().read_timeout(SHORT / 4);
    let (server, seen) = watched(builder.idle_timeout(2 * SHORT), ANY, converse);
    let client = connect(server.server_address());
    let started = Instant::now();
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    assert_eq!(read_all(client), "last line\n");
    assert!(started.elapsed() >= 2 * SHORT);
    server.stop().expect("it was asked to");
    assert_eq!(seen.try_recv().ok(), None);
}

#[test]
fn without_an_idle_timeout_the_read_timeout_holds() {
    let (server, seen) = watched(
        ThreadingTcpServer::builder().read_timeout(SHORT),
        ANY,
        converse,
    );
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    expect_timeout(&seen, "nothing received");
    assert_eq!(read_all(client), "");
}

#[test]
fn a_shutdown_and_a_deadline_end_what_stays_idle() {
    let builder = || {
        let builder = ThreadingTcpServer::builder().read_timeout(SHORT / 4);
        builder.idle_timeout(Duration::MAX)
    };
    let (server, _) = watched(builder(), ANY, converse);
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "hello\n"), "hello\n");
    thread::sleep(SHORT);
    server.stop().expect("it was asked to");
    assert_eq!(read_all(client), "last line\n");
    let (server, seen) = watched(builder().max_lifetime(SHORT), ANY, converse);
    let _client = connect(server.server_address());
    expect_timeout(&seen, "was not done within 200ms");
}

/// The idle time runs only while the server's handler does.
#[test]
fn the_read_timeout_holds_where_no_idle_timeout_runs() {
    let (errors, seen) = channel();
    let (detached, kept) = channel();
    let server = ThreadingTcpServer::builder()
        .idle_timeout(Duration::MAX)
        .read_timeout(SHORT)
        .hooks(Impatient(Watch(errors)))
        .bind_fn(ANY, move |request| {
            detached.send(request.detach()).map_err(|e| e.to_string())?;
            Ok(())
        });
    let server = in_background(server);
    let _silent = connect(server.server_address());
    expect_timeout(&seen, "nothing received");
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n").expect("the server reads");
    let mut request = kept.recv_timeout(LONG).expect("the handler gives it up");
    let (report, reports) = channel();
    thread::spawn(move || report.send(request.wait_for_data()));
    let waited = reports.recv_timeout(LONG).expect("it does not block");
    let error = waited.expect_err("nothing is sent");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// Wants a line before the handler gets the request.
struct Impatient(Watch);

impl Hooks for Impatient {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        request.set_read_timeout(Some(SHORT))?;
        Ok(request.next_line()?.is_some())
    }

    fn handle_error(&self, request: &mut StreamRequest, error: &RequestError) {
        self.0.handle_error(request, error);
    }
}

#[test]
fn a_socket_that_does_not_block_is_not_waited_for() {
    let (reporter, received) = channel();
    let builder = ThreadingTcpServer::builder()
        .idle_timeout(Duration::MAX)
        .read_timeout(LONG);
    let server = builder.bind_fn(ANY, move |request| {
        socket2::SockRef::from(&*request).set_nonblocking(true)?;
        let waited = request.wait_for_data().map_err(|e| e.kind());
        Ok(reporter.send(waited)?)
    });
    let server = in_background(server);
    let _client = connect(server.server_address());
    let waited = received.recv_timeout(SHORT * 10).expect("it returns");
    assert_eq!(waited, Err(ErrorKind::TimedOut));
}
