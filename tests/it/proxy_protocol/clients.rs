//! Behind a trusted proxy the server sees the client that the header names.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::channel;

use socketserver::prelude::*;
use socketserver::proxy_protocol::{ProxyProtocol, v2_header};
use socketserver::{Builder, Dispatch, Server};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::counts::{reasons, settled};
use support::gate::Gate;
use support::kind::{Client, StreamClient, StreamKind};
use support::logs::Logs;
use support::{ANY, connect, eventually, in_background, next, read_all, socket_folder};

fn proxies() -> ProxyProtocol {
    ProxyProtocol::required(["127.0.0.0/8", "unix"]).expect("the list is valid")
}

fn behind_proxy() -> Builder<socketserver::listener::Tcp, Concurrent> {
    ConcurrentTcpServer::builder().proxy_protocol(proxies())
}

fn header_of(client: &str) -> Vec<u8> {
    let client = client.parse().expect("it is an address");
    v2_header(&client, &Address::from(([198, 51, 100, 1], 443)))
}

/// Answers with both addresses, and then a line of the client.
fn describe(request: &mut StreamRequest) -> HandlerResult {
    let (client, peer) = (&request.client_address, request.peer_address());
    writeln!(request.wfile, "{client} through {peer}")?;
    let line = request.rfile.readline(100)?;
    Ok(request.wfile.write_all(&line)?)
}

fn the_client_is_the_one_that_the_header_names<L: StreamKind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let builder = Server::<L, D>::builder().proxy_protocol(proxies());
    let server = in_background(builder.bind_fn(L::address(folder.path()), describe));
    let server_address = server.server_address();
    for (header, client) in [
        (
            &b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"[..],
            "192.0.2.1:56324",
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
            "[2001:db8::1]:1",
        ),
        (&header_of("192.0.2.2:5"), "192.0.2.2:5"),
        (&header_of("[2001:db8::1]:5"), "[2001:db8::1]:5"),
        (
            &v2_header(&Address::Abstract(b"client".to_vec()), &Address::Unnamed),
            "@client",
        ),
    ] {
        // What follows the header is not lost, in one piece with it or not.
        for is_one_piece in [true, false] {
            let mut proxy = L::connect(server_address);
            let mut socket = proxy.socket();
            if is_one_piece {
                let all = [header, b"hello\n"].concat();
                socket.write_all(&all).expect("the server reads");
            } else {
                for byte in header {
                    socket.write_all(&[*byte]).expect("the server reads");
                }
            }
            let line = proxy.receive_line();
            let (first, peer) = line.split_once(" through ").expect("two addresses");
            assert_eq!(first, client);
            assert!(
                peer == "(unnamed)" || peer.starts_with("127.0.0.1:"),
                "{peer}"
            );
            if !is_one_piece {
                proxy.send_line("hello");
            }
            assert_eq!(proxy.receive_line(), "hello");
        }
    }
}

fn a_health_check_has_the_address_of_the_proxy<L: StreamKind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let builder = Server::<L, D>::builder().proxy_protocol(proxies());
    let server = builder.bind_fn(L::address(folder.path()), |request| {
        assert_eq!(request.client_address, request.peer_address());
        let header = request.proxy_header().expect("it is required");
        writeln!(request.wfile, "{}", header.is_local())?;
        Ok(())
    });
    let server = in_background(server);
    for (header, is_local) in [
        (&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], "true"),
        (b"PROXY UNKNOWN\r\n", "false"),
    ] {
        let mut proxy = L::connect(server.server_address());
        let sent = proxy.socket().write_all(header);
        sent.expect("the server reads");
        assert_eq!(proxy.receive_line(), is_local);
    }
}

support::for_each! { {
    the_client_is_the_one_that_the_header_names
    a_health_check_has_the_address_of_the_proxy
}
    inline_tcp: Tcp, Inline;
    inline_unix: Unix, Inline;
    concurrent_tcp: Tcp, Concurrent;
    concurrent_unix: Unix, Concurrent;
}

/// Accepts no client whose address ends with `.66`, and answers rejected ones.
struct Choosy;

impl Hooks for Choosy {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        let ip = request.client_address.ip();
        let ip = ip.ok_or("not an IP address")?.to_string();
        if !ip.ends_with(".66") {
            return Ok(true);
        }
        request.wfile.write_all(b"refused\n")?;
        Ok(false)
    }

    fn reject_request(&self, request: &mut StreamRequest, why: RejectReason) -> HandlerResult {
        Ok(writeln!(request.wfile, "{why} {}", request.client_address)?)
    }
}

/// A proxy's connection for this client, which has sent a line.
fn connect_for(server: &ServerHandle, client: &str, line: &str) -> TcpStream {
    let mut proxy = connect(server.server_address());
    let sent = [&header_of(client)[..], line.as_bytes(), b"\n"].concat();
    proxy.write_all(&sent).expect("the server reads");
    proxy
}

#[test]
fn verify_request_sees_the_client() {
    let server = in_background(behind_proxy().hooks(Choosy).bind_fn(ANY, describe));
    let server = server.handle();
    let refused = read_all(connect_for(&server, "192.0.2.66:5", "hello"));
    assert_eq!(refused, "refused\n");
    // An error refuses it too.
    let unix = v2_header(&Address::Path("/run/x".into()), &Address::Unnamed);
    let mut proxy = connect(server.server_address());
    proxy.write_all(&unix).expect("the server reads");
    assert_eq!(read_all(proxy), "");
    let served = read_all(connect_for(&server, "192.0.2.67:5", "hello"));
    assert!(
        served.starts_with("192.0.2.67:5 through 127.0.0.1:"),
        "{served}"
    );
    let statistics = settled(&server, 3);
    assert_eq!(reasons(&statistics), [2, 0, 0, 0, 0, 0]);
    assert_eq!(statistics.finished, 1);
}

#[test]
fn the_limit_per_ip_counts_clients() {
    let gate = Gate::default();
    let builder = behind_proxy().hooks(Choosy).max_per_ip(1);
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    let server = server.handle();
    let one = connect_for(&server, "192.0.2.1:5", "a");
    let other = connect_for(&server, "192.0.2.2:5", "b");
    assert_eq!(gate.next_few(2), ["a", "b"]);
    let rejected = read_all(connect_for(&server, "192.0.2.1:6", "c"));
    assert_eq!(rejected, "too many per IP 192.0.2.1:6\n");
    eventually("it has ended", || server.statistics().active == 2);
    gate.release(2);
    assert_eq!([read_all(one), read_all(other)], ["a\n", "b\n"]);
    settled(&server, 3);
    // Its address does not count any more.
    gate.release(1);
    let again = connect_for(&server, "192.0.2.1:7", "d");
    assert_eq!(read_all(again), "d\n");
    let statistics = settled(&server, 4);
    assert_eq!(reasons(&statistics), [0, 0, 0, 1, 0, 0]);
    assert_eq!(statistics.finished, 3);
}

/// What a rejected client takes is free when it is rejected.
#[test]
fn a_rejected_client_lets_a_waiting_one_in() {
    let gate = Gate::default();
    let builder = behind_proxy().max_per_ip(1).max_connections(2);
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    let server = server.handle();
    let _one = connect_for(&server, "192.0.2.1:5", "a");
    assert_eq!(gate.next(), "a");
    for _ in 0..10 {
        assert_eq!(read_all(connect_for(&server, "192.0.2.1:6", "b")), "");
    }
    let _other = connect_for(&server, "192.0.2.2:5", "c");
    assert_eq!(gate.next(), "c");
    gate.release(2);
}

#[test]
fn log_lines_and_errors_name_the_client() {
    let logs = Logs::from_here();
    let (connections, connected) = channel();
    let server = behind_proxy().max_line(10).bind_fn(ANY, move |request| {
        connections.send(request.connection()?)?;
        request.next_line()?;
        Ok(())
    });
    let server = in_background(server);
    let mut proxy = connect_for(
        &server.handle(),
        "192.0.2.77:7",
        "much longer than it may be",
    );
    let connection = next(&connected);
    assert_eq!(connection.client_address().to_string(), "192.0.2.77:7");
    assert_eq!(read_all(&mut proxy), "");
    settled(&server.handle(), 1);
    let lines = logs.with("from 192.0.2.77:7: ");
    let text: String = lines.iter().map(|(_, line)| &line[..]).collect();
    assert!(
        text.contains("from 192.0.2.77:7 does not end within 10 bytes"),
        "{text}"
    );
    assert!(text.contains("from 192.0.2.77:7: failed after "), "{text}");
    let peer = proxy.local_addr().expect("it is connected");
    let lines = logs.with(&format!("from {peer}: "));
    assert!(
        lines[1].1.ends_with(": the client is 192.0.2.77:7"),
        "{lines:?}"
    );
}

#[cfg(feature = "green")]
#[test]
fn a_task_has_the_address_of_the_client() {
    let gate = Gate::default();
    let builder = GreenTcpServer::builder().proxy_protocol(proxies());
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    let server = server.handle();
    let _proxy = connect_for(&server, "192.0.2.1:5", "a");
    assert_eq!(gate.next(), "a");
    let clients: Vec<_> = server
        .tasks()
        .into_iter()
        .map(|task| task.client_address)
        .collect();
    assert_eq!(clients, [Address::from(([192, 0, 2, 1], 5))]);
    gate.release(1);
}

#[test]
fn without_the_setting_a_header_is_data() {
    let builder = behind_proxy().proxy_protocol(None);
    let server = builder.bind_fn(ANY, |request| {
        assert!(request.proxy_header().is_none());
        assert_eq!(request.client_address, request.peer_address());
        let line = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&line)?)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client
        .write_all(b"PROXY UNKNOWN\r\n")
        .expect("the server reads");
    assert_eq!(read_all(client), "PROXY UNKNOWN\r\n");
}
