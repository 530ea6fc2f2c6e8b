//! Python clients with the example servers, and the same exchanges with Python servers and Rust
//! servers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socketserver::prelude::*;
use socketserver::{Address, BackgroundServer, DatagramRequest, StreamRequest};

use support::concurrent::{ConcurrentTcpServer, ConcurrentUdpServer};
use support::example::Example;
use support::{ANY, connect, connect_udp, in_background, python, socket_path};

/// Runs twenty Python clients of that kind at once, with the example as their server.
fn expect_served(kind: &str, example: &Example) {
    let mut clients = python::script("many_clients.py");
    clients.arg(kind).arg(&example.address);
    let output = clients.output().expect("python3 is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}: {complaint}");
    assert_eq!(output.stdout, b"20 clients served\n", "{kind}");
}

#[test]
fn twenty_python_clients_at_once_are_served_over_tcp() {
    for kind in [
        "tcp",
        "threading-tcp",
        #[cfg(feature = "green")]
        "green-tcp",
    ] {
        let example = Example::start("echo_server", &[ANY, "--server", kind]);
        expect_served("echo", &example);
    }
}

#[test]
fn twenty_python_clients_at_once_are_served_over_a_unix_socket() {
    for kind in [
        "unix-stream",
        "threading-unix-stream",
        #[cfg(feature = "green")]
        "green-unix-stream",
    ] {
        let (_folder, path) = socket_path();
        let text = path.to_str().expect("the path is UTF-8");
        let example = Example::start("echo_server", &[text, "--server", kind]);
        expect_served("echo", &example);
    }
}

#[cfg(feature = "green")]
#[test]
fn twenty_python_clients_at_once_are_served_by_green_tasks() {
    let (_folder, path) = socket_path();
    let path = path.to_str().expect("the path is UTF-8");
    for (address, kind) in [(ANY, "green-tcp"), (path, "green-unix-stream")] {
        let example = Example::start("echo_server", &[address, "--server", kind]);
        expect_served("echo", &example);
    }
}

#[test]
fn twenty_python_clients_at_once_are_served_by_upper_server() {
    expect_served("upper", &Example::start("upper_server", &[ANY]));
}

#[test]
fn twenty_python_clients_at_once_are_served_over_udp() {
    for arguments in [
        &[ANY][..],
        &[ANY, "--threading"],
        #[cfg(feature = "green")]
        &[ANY, "--green"],
    ] {
        let example = Example::start("udp_echo_server", arguments);
        expect_served("udp", &example);
    }
}

/// The Rust counterpart of the script's server with this name.
fn lines(request: &mut StreamRequest) -> HandlerResult {
    let (mut line, mut count) = (Vec::new(), 0);
    while request.rfile.read_until(b'\n', &mut line)? > 0 {
        request.wfile.write_all(&line.to_ascii_uppercase())?;
        line.clear();
        count += 1;
    }
    writeln!(request.wfile, "{count} lines")?;
    Ok(())
}

fn wfile(request: &mut DatagramRequest) -> HandlerResult {
    let mut packet = Vec::new();
    request.rfile.read_to_end(&mut packet)?;
    write!(request.wfile, "{}:", packet.len())?;
    request.wfile.write_all(&packet.to_ascii_uppercase())?;
    Ok(())
}

fn sendto(request: &mut DatagramRequest) -> HandlerResult {
    request.reply(&request.packet.to_ascii_uppercase())?;
    Ok(())
}

/// Runs the same exchange with both servers, and compares the answers.
fn expect_equal_answers(
    kind: &str,
    ours: BackgroundServer,
    converse: impl Fn(&Address) -> Vec<Vec<u8>>,
) {
    let mut original = python::script("original_server.py");
    original.arg(kind);
    let original = Example::launch(original);
    let address: SocketAddr = original
        .address
        .parse()
        .expect("the address is an IP address");
    let wanted = converse(&address.into());
    let got = converse(ours.server_address());
    for (step, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        let (wanted, got) = (wanted.escape_ascii(), got.escape_ascii());
        assert_eq!(got.to_string(), wanted.to_string(), "{kind}, step {step}");
    }
    assert_eq!(got.len(), wanted.len(), "{kind}");
}

/// Sends the pieces one by one, waits for the answer to each, and then shuts down the writes.
/// Returns the answers, and the bytes after the shutdown.
fn exchange_pieces(address: &Address, pieces: &[(&[u8], usize)]) -> Vec<Vec<u8>> {
    let mut stream = connect(address);
    stream.set_nodelay(true).expect("the option is set");
    let mut answers = Vec::new();
    for (piece, length) in pieces {
        stream.write_all(piece).expect("the server reads");
        answers.push(receive(&mut stream, *length));
    }
    stream
        .shutdown(Shutdown::Write)
        .expect("the connection is open");
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .expect("the server closes the connection");
    answers.push(rest);
    answers
}

fn receive(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).expect("the server answers");
    answer
}

#[test]
fn tcp_answers_are_those_of_the_python_server() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, lines));
    let long = [&[b'x'; 60_000][..], b"\n"].concat();
    expect_equal_answers("lines", server, |address| {
        let conversations: [&[(&[u8], usize)]; 7] = [
            // No bytes, and the end of the stream.
            &[],
            &[(b"hello\n", 6)],
            // Several lines in one segment, and one line in several segments.
            &[(b"one\ntwo\nthree\n", 14), (b"in pie", 0), (b"ces\n", 10)],
            // Empty lines, and both line ends.
            &[(b"\n\n\r\n", 4), (b"dos\r\n", 5)],
            // No newline at the end of the stream.
            &[(b"first\nlast without", 6)],
            // Not UTF-8, and a zero byte.
            &[(b"\xff\xe9t\xe9\x00!\n", 7)],
            &[(&long, long.len())],
        ];
        let each = conversations.iter();
        each.flat_map(|pieces| exchange_pieces(address, pieces))
            .collect()
    });
}

/// Sends datagrams one by one, and returns the answers.
fn send_each(address: &Address) -> Vec<Vec<u8>> {
    let client = connect_udp(address);
    let mut buffer = vec![0; 65_536];
    let mut ask = |packet: &[u8]| {
        client.send(packet).expect("the datagram is sent");
        let length = client.recv(&mut buffer).expect("the server answers");
        buffer[..length].to_vec()
    };
    let text = b"hello";
    let long: Vec<u8> = (0..65_507_usize).map(|at| b'a' + (at % 26) as u8).collect();
    // Both servers receive 8,192 bytes, and lose the rest.
    let lengths = [8191, 8192, 8193, 9000, 65_507];
    let mut answers = vec![ask(text), ask(b""), ask(b"\xff\x00"), ask(b"")];
    answers.extend(lengths.iter().map(|length| ask(&long[..*length])));
    answers.push(ask(text));
    answers
}

#[test]
fn wfile_answers_to_datagrams_are_those_of_the_python_server() {
    let server = in_background(ConcurrentUdpServer::bind_fn(ANY, wfile));
    expect_equal_answers("wfile", server, send_each);
}

#[test]
fn socket_answers_to_datagrams_are_those_of_the_python_server() {
    let server = in_background(UdpServer::bind_fn(ANY, sendto));
    expect_equal_answers("sendto", server, send_each);
}
