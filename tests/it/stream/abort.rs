//! `abort`: what the client sees, and what the handler can still do.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use socketserver::prelude::*;

use super::report::reporting;

use support::handlers::watched;
use support::{ANY, LONG, connect, connect_unix, exchange, in_background, read_all, socket_path};

fn assert_reset(mut client: TcpStream) {
    let read = client.read(&mut [0; 16]).map_err(|e| e.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// Answers a line, and aborts in the middle of more.
fn abort(request: &mut StreamRequest) -> HandlerResult {
    request.rfile.readline(100)?;
    request.wfile.write_all(b"the beginning\n")?;
    request.wfile.flush()?;
    request.wfile.write_all(b"the middle")?;
    request.abort();
    Ok(())
}

#[test]
fn the_client_sees_a_reset_and_no_end() {
    let builder = ThreadingTcpServer::builder().wbufsize(100);
    let (server, seen) = watched(builder, ANY, abort);
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "go on\n"), "the beginning\n");
    assert_reset(client);
    server.stop().expect("it was asked to");
    assert_eq!(seen.try_recv().ok(), None);
}

#[test]
fn a_unix_socket_is_closed_without_what_was_buffered() {
    let (_folder, path) = socket_path();
    let builder = ThreadingUnixStreamServer::builder().wbufsize(100);
    let server = in_background(builder.bind_fn(path, abort));
    let client = connect_unix(server.server_address());
    assert_eq!(exchange(&client, "go on\n"), "the beginning\n");
    assert_eq!(read_all(client), "");
}

#[test]
fn reads_and_writes_fail_after_it() -> io::Result<()> {
    for wbufsize in [0, 100] {
        let builder = ThreadingTcpServer::builder().wbufsize(wbufsize);
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
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        detached
            .send(request.detach())
            .map_err(|_| "the test is over")?;
        // The request that is left has no connection to abort.
        request.abort();
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    let mut request = requests.recv_timeout(LONG).expect("it is detached");
    server.stop()?;
    request.wfile.write_all(b"still here\n")?;
    assert_eq!(exchange(&client, ""), "still here\n");
    request.abort();
    assert_reset(client);
    Ok(())
}

/// It would keep the connection open for as long as the client does not read.
#[test]
fn an_abort_ends_a_blocked_send() -> io::Result<()> {
    let (sender, sending) = bounded(1);
    let (go_on, may_go_on) = bounded::<()>(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        sender.send(request.connection()?)?;
        may_go_on.recv_timeout(LONG)?;
        request.abort();
        // As one that waits for its own threads does.
        Ok(may_go_on.recv_timeout(LONG)?)
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    let connection = sending.recv_timeout(LONG).expect("the handler runs");
    let (report, reports) = bounded(1);
    thread::spawn(move || report.send(connection.send_all(&vec![b'x'; 50_000_000])));
    client.read_exact(&mut [0])?;
    go_on.send(()).expect("the handler waits");
    let sent = reports.recv_timeout(LONG).expect("it does not block");
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    go_on.send(()).expect("the handler waits");
    server.stop()?;
    let end = io::copy(&mut client, &mut io::sink()).map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    Ok(())
}

#[test]
fn an_aborted_connection_is_reset_during_a_shutdown_too() -> io::Result<()> {
    let (aborted, is_aborted) = bounded(1);
    let (go_on, may_go_on) = bounded::<()>(1);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        request.abort();
        aborted.send(())?;
        may_go_on.recv_timeout(LONG)?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    is_aborted.recv_timeout(LONG).expect("the handler runs");
    // Has asked every connection to end, by force too.
    server.handle().shutdown_within(Duration::ZERO);
    go_on.send(()).expect("the handler waits");
    assert_reset(client);
    server.stop()
}
