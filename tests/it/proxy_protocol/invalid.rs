//! Connections of trusted proxies without a valid header.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use socketserver::proxy_protocol::ProxyProtocol;
use socketserver::{Builder, HandlerResult, Stage, StreamRequest};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::counts::{outcomes, settled};
use support::handlers::with_error_reports;
use support::logs::Logs;
use support::{ANY, LONG, connect, in_background, next, reset};

fn behind_proxy(timeout: Duration) -> Builder<socketserver::listener::Tcp, Concurrent> {
    let proxies = ProxyProtocol::required(["127.0.0.1"]).expect("the list is valid");
    ConcurrentTcpServer::builder().proxy_protocol(proxies.header_timeout(timeout))
}

fn unreachable(_: &mut StreamRequest) -> HandlerResult {
    panic!("no handler runs without a header");
}

/// A v2 header with a checksum that is wrong.
const BAD_CHECKSUM: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x07\x03\0\x04nope";

#[test]
fn an_invalid_header_is_an_error_and_closes_the_connection() {
    let (server, errors) = with_error_reports(behind_proxy(LONG), ANY, unreachable);
    for (bytes, text) in [
        (
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            "no PROXY header, but `GET / HTTP",
        ),
        (
            b"PROXY TCP4 192.0.2.1 nowhere 1 2\r\n",
            "for the destination",
        ),
        (
            &[b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat(),
            "the limit is 107 bytes",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            "the limit is 4096 bytes",
        ),
        (BAD_CHECKSUM, "its checksum (CRC32c) is wrong"),
    ] {
        let mut proxy = connect(server.server_address());
        proxy.write_all(bytes).expect("the server reads");
        let error = next(&errors);
        assert_eq!(error.stage, Stage::ProxyHeader);
        assert_eq!(error.kind, Some(ErrorKind::InvalidData));
        assert!(!error.is_disconnect);
        assert!(
            error.text.starts_with("PROXY header failed: "),
            "{}",
            error.text
        );
        assert!(error.text.contains(text), "{}", error.text);
        // What the server has not read may reset the connection.
        let _ = std::io::Read::read(&mut proxy, &mut [0]);
    }
    let statistics = settled(&server.handle(), 5);
    assert_eq!(outcomes(&statistics), [0, 5, 0, 0, 0]);
}

#[test]
fn a_half_header_is_an_error() {
    let (server, errors) = with_error_reports(behind_proxy(LONG), ANY, unreachable);
    for begin in [
        &b"PROXY TCP4 192."[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f",
    ] {
        let mut proxy = connect(server.server_address());
        proxy.write_all(begin).expect("the server reads");
        let closed = proxy.shutdown(Shutdown::Write);
        closed.expect("it is connected");
        let error = next(&errors);
        assert_eq!(error.kind, Some(ErrorKind::InvalidData));
        let end = format!("after {} bytes of its PROXY header", begin.len());
        assert!(error.text.ends_with(&end), "{}", error.text);
    }
    let statistics = settled(&server.handle(), 2);
    assert_eq!(outcomes(&statistics), [0, 2, 0, 0, 0]);
}

#[test]
fn a_client_that_closes_without_a_byte_has_disconnected() {
    let (server, errors) = with_error_reports(behind_proxy(LONG), ANY, unreachable);
    drop(connect(server.server_address()));
    let error = next(&errors);
    assert_eq!(error.stage, Stage::ProxyHeader);
    assert!(error.is_disconnect);
    reset(connect(server.server_address()));
    assert!(next(&errors).is_disconnect);
    let statistics = settled(&server.handle(), 2);
    assert_eq!(outcomes(&statistics), [0, 0, 0, 0, 2]);
}

#[test]
fn a_header_that_never_comes_is_a_timeout() {
    let timeout = Duration::from_millis(100);
    let (server, errors) = with_error_reports(behind_proxy(timeout), ANY, unreachable);
    let proxy = connect(server.server_address());
    let error = next(&errors);
    assert_eq!(error.stage, Stage::ProxyHeader);
    assert_eq!(error.kind, Some(ErrorKind::TimedOut));
    let peer = proxy.local_addr().expect("it is connected");
    let text = format!("no PROXY header received from {peer} within 100ms");
    assert!(error.text.ends_with(&text), "{}", error.text);
    assert_eq!(support::read_all(proxy), "");
    let statistics = settled(&server.handle(), 1);
    assert_eq!(outcomes(&statistics), [0, 0, 0, 1, 0]);
}

/// Each byte comes in time, but not the whole header.
#[test]
fn single_bytes_do_not_extend_the_time() {
    let timeout = Duration::from_millis(200);
    let (server, errors) = with_error_reports(behind_proxy(timeout), ANY, unreachable);
    let mut proxy = connect(server.server_address());
    let begun = Instant::now();
    let header = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    let mut sent = 0;
    let error = header.bytes().find_map(|byte| {
        sent += usize::from(proxy.write_all(&[byte]).is_ok());
        thread::sleep(timeout / 10);
        errors.try_recv().ok()
    });
    let error = error.expect("it ends before the header does");
    assert!(begun.elapsed() >= timeout);
    assert!(sent > 1);
    assert_eq!(error.kind, Some(ErrorKind::TimedOut));
    assert!(
        error.text.contains("bytes of a PROXY header received from"),
        "{}",
        error.text
    );
}

#[test]
fn the_log_names_the_proxy_and_what_is_wrong() {
    let logs = Logs::from_here();
    let server = in_background(behind_proxy(LONG).bind_fn(ANY, unreachable));
    for (bytes, level, text) in [
        (BAD_CHECKSUM, Level::Warn, "checksum"),
        (b"PROXY TCP", Level::Warn, "after 9 bytes"),
        (b"", Level::Debug, "before its PROXY header"),
    ] {
        let mut proxy = connect(server.server_address());
        proxy.write_all(bytes).expect("the server reads");
        let peer = proxy.local_addr().expect("it is connected");
        proxy.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(support::read_all(proxy), "");
        let error = format!("from {peer}: PROXY header failed: ");
        support::eventually("it is logged", || !logs.with(&error).is_empty());
        let lines = logs.with(&error);
        assert_eq!((lines.len(), lines[0].0), (1, level), "{lines:?}");
        assert!(lines[0].1.contains(text), "{lines:?}");
    }
}
