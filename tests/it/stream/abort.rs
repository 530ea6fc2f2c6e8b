//! `abort`: the client sees a reset, and reads and writes of the handler fail.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use socketserver::prelude::*;
use socketserver::task;

use super::report::reporting;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::handlers::with_error_reports;
use support::{
    ANY, LONG, assert_reset, connect, connect_unix, exchange, in_background, read_all, socket_path,
};

/// A handler that answers a line, and aborts in the middle of another answer.
fn abort(request: &mut StreamRequest) -> HandlerResult {
    request.rfile.readline(100)?;
    request.wfile.write_all(b"the beginning\n")?;
    request.wfile.flush()?;
    request.wfile.write_all(b"the middle")?;
    request.abort();
    Ok(())
}

#[test]
fn abort_resets_the_connection() {
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let (server, seen) = with_error_reports(builder, ANY, abort);
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "go on\n"), "the beginning\n");
    assert_reset(client);
    server.stop().expect("serving ends without an error");
    assert_eq!(seen.try_recv().ok(), None);
}

#[test]
fn abort_closes_a_unix_socket_without_flushing() {
    let (_folder, path) = socket_path();
    let builder = ConcurrentUnixStreamServer::builder().wbufsize(100);
    let server = in_background(builder.bind_fn(path, abort));
    let client = connect_unix(server.server_address());
    assert_eq!(exchange(&client, "go on\n"), "the beginning\n");
    assert_eq!(read_all(client), "");
}

#[test]
fn reads_and_writes_fail_after_abort() -> io::Result<()> {
    for wbufsize in [0, 100] {
        let builder = ConcurrentTcpServer::builder().wbufsize(wbufsize);
        let (server, reports) = reporting(builder, |request| {
            request.rfile.readline(100)?;
            let connection = request.connection()?;
            request.wfile.write_all(b"here")?;
            request.abort();
            request.abort();
            let errors = [
                request.rfile.readline(100).map(drop),
                request.rfile.read(&mut [0; 10]).map(drop),
                request.next_line().map(drop),
                request.wait_for_data().map(drop),
                request.wfile.write_all(b"lost"),
                request.wfile.write(b"lost").map(drop),
                request.wfile.shutdown(),
                connection.send_all(b"lost"),
                connection.shutdown(),
            ];
            request.wfile.flush()?;
            Ok(errors.map(|result| result.unwrap_err()))
        })?;
        let mut client = connect(server.server_address());
        client.write_all(b"one\ntwo\n")?;
        for error in reports.next()? {
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            let address = client.local_addr()?.to_string();
            assert!(error.to_string().contains(&address), "{error}");
        }
        let mut received = String::new();
        let end = client.read_to_string(&mut received).map_err(|e| e.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        assert_eq!(received, if wbufsize == 0 { "here" } else { "" });
    }
    Ok(())
}

#[test]
fn a_detached_request_can_be_aborted_too() -> io::Result<()> {
    let (detached, requests) = bounded(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        detached
            .send(request.detach())
            .map_err(|_| "the test has ended")?;
        // The request that remains after `detach` has no connection to abort.
        request.abort();
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    let mut request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    server.stop()?;
    request.wfile.write_all(b"still here\n")?;
    assert_eq!(exchange(&client, ""), "still here\n");
    request.abort();
    assert_reset(client);
    Ok(())
}

/// Without the abort, the connection would stay open until the client reads.
#[test]
fn an_abort_ends_a_blocked_send() -> io::Result<()> {
    let (sender, sending) = bounded(1);
    let (resume, may_go_on) = task::bounded::<()>(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        sender.send(request.connection()?)?;
        may_go_on.recv_timeout(LONG)?;
        request.abort();
        // Like a handler that waits for its own threads.
        Ok(may_go_on.recv_timeout(LONG)?)
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    let connection = sending.recv_timeout(LONG).expect("the handler runs");
    let (report, reports) = bounded(1);
    thread::spawn(move || report.send(connection.send_all(&vec![b'x'; 50_000_000])));
    client.read_exact(&mut [0])?;
    resume.send(()).expect("the handler waits");
    let sent = reports.recv_timeout(LONG).expect("the call does not block");
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    resume.send(()).expect("the handler waits");
    server.stop()?;
    let end = io::copy(&mut client, &mut io::sink()).map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    Ok(())
}

#[test]
fn an_aborted_connection_is_reset_during_a_shutdown() -> io::Result<()> {
    let (aborted, is_aborted) = bounded(1);
    let (resume, may_go_on) = task::bounded::<()>(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.abort();
        aborted.send(())?;
        may_go_on.recv_timeout(LONG)?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    is_aborted.recv_timeout(LONG).expect("the handler runs");
    // The shutdown has closed all connections, also by force.
    server.handle().shutdown_within(Duration::ZERO);
    resume.send(()).expect("the handler waits");
    assert_reset(client);
    server.stop()
}
