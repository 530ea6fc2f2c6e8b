//! The example `dns_server` and packets of all kinds: random packets, responses, and many queries
//! on one connection.

use std::io::ErrorKind;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};

use nix::sys::signal::Signal;
use proptest::prelude::RngCore;
use proptest::test_runner::{RngAlgorithm, TestRng};
use socketserver::framing::{Framing, Prefix};
use support::LONG;
use support::example::Example;

use crate::client::{A, answers, code, id, is_response, is_truncated, query, start};

const MESSAGES: Framing = Framing::new(Prefix::U16);

fn udp(server: &Example) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket
        .set_read_timeout(Some(LONG))
        .expect("the option is set");
    socket
        .connect(&server.address)
        .expect("the address is valid");
    socket
}

fn tcp(server: &Example) -> TcpStream {
    let stream = support::connect_to(&server.address);
    stream.set_nodelay(true).expect("the option is set");
    stream
}

/// Sends a packet and then a query. Returns the replies before the answer to the query.
fn replies(socket: &UdpSocket, packet: &[u8]) -> Vec<Vec<u8>> {
    const LAST: u16 = 0xabcd;
    socket.send(packet).expect("the datagram is sent");
    let last = query(LAST, "ns1.example.com", A);
    socket.send(&last).expect("the datagram is sent");
    let mut replies = Vec::new();
    loop {
        let mut reply = vec![0; 2048];
        let length = match socket.recv(&mut reply) {
            // A read with a timeout is interrupted when the process is stopped and continued.
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            received => received.expect("the server answers"),
        };
        reply.truncate(length);
        if id(&reply) == LAST {
            return replies;
        }
        replies.push(reply);
    }
}

/// One packet in three is random. The others are valid queries with a few bytes changed, removed or
/// added.
fn hostile(rng: &mut TestRng, n: usize) -> Vec<u8> {
    let mut below = |limit: usize| rng.next_u32() as usize % limit;
    if n.is_multiple_of(3) {
        let length = below(600);
        return (0..length).map(|_| below(256) as u8).collect();
    }
    let names = [
        "www.example.com",
        "example.com",
        "x.users.example.com",
        "sub.example.com",
        "",
    ];
    let mut packet = query(n as u16, names[below(names.len())], below(256) as u16);
    // The OPT record of EDNS, with 1,232 bytes.
    if n.is_multiple_of(2) {
        packet[11] = 1;
        packet.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    for _ in 0..below(4) {
        let at = below(packet.len());
        packet[at] = below(256) as u8;
    }
    match below(4) {
        0 => packet.truncate(below(packet.len())),
        1 => packet.extend((0..below(40)).map(|_| below(256) as u8).collect::<Vec<_>>()),
        _ => {}
    }
    packet
}

/// Each packet gets at most one reply with the same id. Responses get no reply.
#[test]
fn the_server_survives_ten_thousand_random_packets() {
    let server = start();
    let socket = udp(&server);
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut answered = 0;
    for n in 0..10_000 {
        let packet = hostile(&mut rng, n);
        let got = replies(&socket, &packet);
        let silent = packet.len() < 12 || is_response(&packet);
        assert_eq!(got.len(), usize::from(!silent), "{packet:x?} got {got:x?}");
        for reply in got {
            assert_eq!(id(&reply), id(&packet), "{packet:x?}");
            assert!(is_response(&reply) && reply.len() <= 1232, "{reply:x?}");
            answered += 1;
        }
    }
    assert!(answered > 3000, "only {answered} were answered");
    let stream = tcp(&server);
    MESSAGES
        .write(&mut &stream, &query(7, "www.example.com", A))
        .expect("the server reads");
    let reply = MESSAGES.read(&mut &stream).expect("the server answers");
    assert_eq!(answers(&reply.expect("the server answers")), 2);
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

/// The same over TCP: the server may close a connection, but the next connection is served.
#[test]
fn the_server_survives_a_thousand_random_messages_over_tcp() {
    let server = start();
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut stream = tcp(&server);
    for n in 0..1000 {
        let packet = hostile(&mut rng, n);
        MESSAGES
            .write(&mut stream, &packet)
            .expect("the server reads");
        if packet.len() < 12 || is_response(&packet) {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("the stream ends");
            assert_eq!(rest, b"", "{packet:x?}");
            stream = tcp(&server);
        } else {
            let reply = MESSAGES.read(&mut stream).expect("a message arrives");
            let reply = reply.expect("the server answers");
            assert_eq!(id(&reply), id(&packet), "{packet:x?}");
        }
    }
    server.signal(Signal::SIGTERM);
    let log = server.finish().2;
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[test]
fn a_response_is_never_answered() {
    let server = start();
    let mut response = query(1, "example.com", A);
    response[2] |= 0x80;
    assert_eq!(replies(&udp(&server), &response), [[0; 0]; 0]);
}

#[test]
fn queries_with_several_questions_or_none_are_malformed() {
    let server = start();
    let socket = udp(&server);
    for questions in [0, 2, 255] {
        let mut packet = query(5, "example.com", A);
        packet[5] = questions;
        packet.extend(query(5, "example.com", A).split_off(12));
        let got = replies(&socket, &packet);
        assert_eq!(got.len(), 1, "{questions} questions");
        assert_eq!(
            (id(&got[0]), code(&got[0])),
            (5, 1),
            "{questions} questions"
        );
    }
}

#[test]
fn the_payload_size_of_edns_is_respected() {
    let server = crate::client::start_with(
        &("$ORIGIN a.example.\n$TTL 60\n@ SOA ns mail 1 2 3 4 5\n".to_owned()
            + &(0..60)
                .map(|n| format!("x A 192.0.2.{n}\n"))
                .collect::<String>()),
    );
    let socket = udp(&server);
    // 60 records of 16 bytes.
    for (size, fits) in [
        (0u16, false),
        (600, false),
        (900, false),
        (1100, true),
        (65_535, true),
    ] {
        let mut packet = query(3, "x.a.example", A);
        packet[11] = 1;
        packet.extend([&[0, 0, 41][..], &size.to_be_bytes(), &[0; 6]].concat());
        let got = replies(&socket, &packet);
        assert_eq!(is_truncated(&got[0]), !fits, "{size}");
        assert_eq!(answers(&got[0]), if fits { 60 } else { 0 }, "{size}");
    }
}

/// The queries are answered in order, if they are sent in one burst and if they are sent byte by
/// byte.
#[test]
fn a_connection_can_have_many_queries() {
    let server = start();
    let mut stream = tcp(&server);
    let mut burst = Vec::new();
    for n in 0..100 {
        MESSAGES
            .write(&mut burst, &query(n, "www.example.com", A))
            .expect("writing to a Vec succeeds");
    }
    stream.write_all(&burst).expect("the server reads");
    for byte in &burst[..3 * burst.len() / 100] {
        stream.write_all(&[*byte]).expect("the server reads");
    }
    stream
        .shutdown(Shutdown::Write)
        .expect("the connection is open");
    for n in (0..100).chain(0..3) {
        let reply = MESSAGES.read(&mut stream).expect("a message arrives");
        let reply = reply.expect("the server answers");
        assert_eq!((id(&reply), answers(&reply)), (n, 2));
    }
    assert_eq!(MESSAGES.read(&mut stream).expect("the stream ends"), None);
}

#[test]
fn an_idle_connection_does_not_delay_the_shutdown() {
    let server = start();
    let mut stream = tcp(&server);
    MESSAGES
        .write(&mut stream, &query(1, "example.com", A))
        .expect("the server reads");
    assert!(
        MESSAGES
            .read(&mut stream)
            .expect("a message arrives")
            .is_some()
    );
    server.signal(Signal::SIGTERM);
    assert_eq!(MESSAGES.read(&mut stream).expect("the stream ends"), None);
    assert!(server.finish().0.success());
}
