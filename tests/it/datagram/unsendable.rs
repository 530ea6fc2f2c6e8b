//! Datagrams that cannot be sent: the handler and `handle_error` get the error.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, Sender, channel};

use socketserver::prelude::*;
use socketserver::{Address, BackgroundServer, RequestError, Stage, UdpServer, UnixDatagramServer};

use support::{ANY, LONG, connect_udp, connect_unix_datagram, in_background, socket_path};

/// An error that `handle_error` received.
struct Report {
    stage: Stage,
    kind: Option<ErrorKind>,
    message: String,
    client: Address,
}

struct Reporter(Sender<Report>);

impl Hooks<DatagramRequest> for Reporter {
    fn handle_error(&self, request: &mut DatagramRequest, error: &RequestError) {
        let report = Report {
            stage: error.stage(),
            kind: error.io_kind(),
            message: error.to_string(),
            client: request.client_address.clone(),
        };
        let _ = self.0.send(report);
    }
}

impl Report {
    fn expect(&self, stage: Stage, kind: ErrorKind, words: &[&str]) {
        assert_eq!(self.stage, stage, "{}", self.message);
        for word in words {
            let message = &self.message;
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        assert_eq!(self.kind, Some(kind), "{}", self.message);
    }
}

type Handler = fn(&mut DatagramRequest) -> HandlerResult;

fn udp(address: &str, handler: Handler) -> (BackgroundServer, Receiver<Report>) {
    let (reports, received) = channel();
    let builder = UdpServer::builder().hooks(Reporter(reports));
    let server = in_background(builder.bind_fn(address, handler));
    (server, received)
}

fn next(reports: &Receiver<Report>) -> Report {
    reports.recv_timeout(LONG).expect("the error is reported")
}

/// Replies with the number of bytes that the packet names.
fn reply(request: &mut DatagramRequest) -> HandlerResult {
    let length = std::str::from_utf8(&request.packet)?.parse()?;
    request.reply(&vec![b'x'; length])?;
    Ok(())
}

/// The same through `wfile`.
fn write(request: &mut DatagramRequest) -> HandlerResult {
    let length = std::str::from_utf8(&request.packet)?.parse()?;
    request.wfile = vec![b'x'; length];
    Ok(())
}

#[test]
fn the_error_of_a_long_udp_reply_names_address_and_limit() {
    for (handler, stage) in [(reply as Handler, Stage::Handle), (write, Stage::Finish)] {
        let (server, reports) = udp(ANY, handler);
        let client = connect_udp(server.server_address());
        client.send(b"65508").expect("the datagram is sent");
        let report = next(&reports);
        let address = client.local_addr().expect("the socket is bound");
        let words = [&*address.to_string(), "65508 bytes", "too long", "65507"];
        report.expect(stage, ErrorKind::InvalidInput, &words);
        assert_eq!(report.client, address);

        // The longest possible reply is sent, so the server still serves.
        client.send(b"65507").expect("the datagram is sent");
        let mut answer = vec![0; 65_536];
        let length = client.recv(&mut answer).expect("the server answers");
        assert_eq!(length, 65_507, "{stage}");
    }
}

#[test]
fn the_limit_of_ipv6_is_20_bytes_higher() {
    let (server, reports) = udp("[::1]:0", reply);
    let client = std::net::UdpSocket::bind("[::1]:0").expect("a port is free");
    client
        .set_read_timeout(Some(LONG))
        .expect("the timeout is not zero");
    client.connect(server.server_address()).expect("loopback");
    client.send(b"65528").expect("the datagram is sent");
    let words = ["[::1]:", "65528 bytes", "65527"];
    next(&reports).expect(Stage::Handle, ErrorKind::InvalidInput, &words);
    client.send(b"65527").expect("the datagram is sent");
    let mut answer = vec![0; 65_536];
    assert_eq!(client.recv(&mut answer).expect("the reply arrives"), 65_527);
}

#[test]

fn ipv4_clients_of_a_dual_stack_server_have_the_limit_of_ipv4() {
    let (reports, received) = channel();
    let builder = UdpServer::builder()
        .hooks(Reporter(reports))
        .dual_stack(true);
    let server = builder
        .bind_fn("[::]:0", reply)
        .expect("the system has IPv6");
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    let port = server
        .server_address()
        .port()
        .expect("the server has a path");
    let client = connect_udp(&Address::from(([127, 0, 0, 1], port)));
    client.send(b"65508").expect("the datagram is sent");
    let words = ["65508 bytes", "too long", "65507"];
    next(&received).expect(Stage::Handle, ErrorKind::InvalidInput, &words);
}

fn unix(handler: Handler) -> (BackgroundServer, Receiver<Report>, tempfile::TempDir) {
    let (folder, path) = socket_path();
    let (reports, received) = channel();
    let builder = UnixDatagramServer::builder().hooks(Reporter(reports));
    let server = in_background(builder.bind_fn(path, handler));
    (server, received, folder)
}

#[test]

fn the_error_of_a_long_unix_reply_names_the_address() {
    for (handler, stage) in [(reply as Handler, Stage::Handle), (write, Stage::Finish)] {
        let (server, reports, folder) = unix(handler);
        let client = connect_unix_datagram(server.server_address(), folder.path(), "client");
        client.send(b"100000000").expect("the server is bound");
        let path = folder.path().join("client");
        let words = [path.to_str().expect("the text is UTF-8"), "100000000 bytes"];
        next(&reports).expect(stage, ErrorKind::InvalidInput, &words);

        client.send(b"5").expect("the server is bound");
        let mut answer = [0; 6];
        assert_eq!(
            client.recv(&mut answer).expect("the server still serves"),
            5
        );
    }
}

#[test]
fn a_reply_to_an_unnamed_unix_client_is_an_error() {
    for (handler, stage) in [(reply as Handler, Stage::Handle), (write, Stage::Finish)] {
        let (server, reports, folder) = unix(handler);
        let client = UnixDatagram::unbound().expect("a socket can be created");
        let path = server
            .server_address()
            .path()
            .expect("the server has a path");
        client.send_to(b"5", path).expect("the server is bound");
        let report = next(&reports);
        report.expect(
            stage,
            ErrorKind::AddrNotAvailable,
            &["has no address", "5 bytes"],
        );
        assert_eq!(report.client, Address::Unnamed);
        let client = connect_unix_datagram(server.server_address(), folder.path(), "client");
        client.send(b"5").expect("the server is bound");
        assert_eq!(
            client.recv(&mut [0; 6]).expect("the server still serves"),
            5
        );
    }
}

#[test]
fn a_reply_to_a_removed_unix_path_is_an_error() {
    let (server, reports, folder) = unix(|request| {
        // As if the client had ended.
        std::fs::remove_file(
            request
                .client_address
                .path()
                .ok_or("the client has a path")?,
        )?;
        request.reply(b"too late")?;
        Ok(())
    });
    let client = connect_unix_datagram(server.server_address(), folder.path(), "client");
    client.send(b"hello").expect("the server is bound");
    let path = folder.path().join("client");
    let words = [path.to_str().expect("the text is UTF-8")];
    next(&reports).expect(Stage::Handle, ErrorKind::NotFound, &words);
}
