//! Who may send a PROXY header.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::time::Duration;

use log::Level;
use socketserver::prelude::*;
use socketserver::proxy_protocol::ProxyProtocol;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::counts::{reasons, settled};
use support::logs::Logs;
use support::{ANY, connect, connect_unix, in_background, read_all, socket_path};

/// Answers with the client's address.
fn describe(request: &mut StreamRequest) -> HandlerResult {
    Ok(writeln!(request.wfile, "{}", request.client_address)?)
}

/// Would answer everybody.
struct Answer;

impl Hooks for Answer {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        request.wfile.write_all(b"refused\n")?;
        Ok(false)
    }
}

#[test]
fn other_peers_are_closed_at_once() {
    let logs = Logs::from_here();
    let trusted = ProxyProtocol::required(["10.0.0.0/8", "unix"]).expect("the list is valid");
    // Nobody is served, not even with an answer.
    let builder = ConcurrentTcpServer::builder()
        .hooks(Answer)
        .proxy_protocol(trusted);
    let server = in_background(builder.bind_fn(ANY, |_| Ok(())));
    let proxy = connect(server.server_address());
    assert_eq!(read_all(&proxy), "");
    let statistics = settled(&server.handle(), 1);
    assert_eq!(reasons(&statistics), [1, 0, 0, 0, 0, 0]);
    assert_eq!(statistics.peak_active, 0);
    let peer = proxy.local_addr().expect("it is connected");
    let lines = logs.with(&format!("from {peer}: refused, it is not a trusted proxy"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, Level::Warn);

    let (_folder, path) = socket_path();
    let trusted = ProxyProtocol::required(["0.0.0.0/0", "::/0"]).expect("the list is valid");
    let builder = ConcurrentUnixStreamServer::builder().proxy_protocol(trusted);
    let server = in_background(builder.bind_fn(&path, |_| Ok(())));
    assert_eq!(read_all(connect_unix(server.server_address())), "");
    assert_eq!(settled(&server.handle(), 1).rejected.refused, 1);
}

#[test]
fn trusted_proxies_are_networks_or_addresses() {
    for (trusted, is_trusted) in [
        ("127.0.0.0/8", true),
        ("127.0.0.1", true),
        ("127.0.0.1/32", true),
        ("::ffff:127.0.0.1", true),
        ("127.0.0.2", false),
        ("::1", false),
    ] {
        let proxies = ProxyProtocol::required([trusted]).expect("it is valid");
        let builder = ConcurrentTcpServer::builder().dual_stack(true);
        let server = builder.proxy_protocol(proxies).bind_fn("[::]:0", describe);
        let server = in_background(server);
        let port = server.server_address().port().expect("it has one");
        let mut proxy = connect(&Address::from(([127, 0, 0, 1], port)));
        // It may be closed before this.
        let _ = proxy.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
        let mut line = String::new();
        let read = BufReader::new(proxy).read_line(&mut line);
        assert_eq!(
            line.starts_with("192.0.2.1:5"),
            is_trusted,
            "{trusted}: {read:?}"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_errors() {
    for text in ["", "10.0.0.0/33", "localhost", "10.0.0.0/8,::1"] {
        let error = ProxyProtocol::required([text]).expect_err("it is not a network");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().starts_with(&format!("{text:?} is not")),
            "{error}"
        );
    }
    let error = ProxyProtocol::required([""; 0]).expect_err("nobody could connect");
    assert_eq!(
        error.to_string(),
        "no trusted proxies: nobody could connect"
    );
    let proxies = ProxyProtocol::required(["::1"]).expect("the list is valid");
    let builder = ConcurrentTcpServer::builder();
    let builder = builder.proxy_protocol(proxies.header_timeout(Duration::ZERO));
    let error = builder
        .bind_fn(ANY, describe)
        .expect_err("the timeout is zero");
    assert!(
        error.to_string().contains("header_timeout is zero"),
        "{error}"
    );
}
