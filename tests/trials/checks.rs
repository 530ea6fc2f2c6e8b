//! Checks that a server still serves a regular client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::time::Duration;

use crate::clients::connect_from;
use crate::server::Server;

use support::{connect_udp, eventually};

/// Checks that the answer begins with these bytes.
pub fn answers(server: &Server, request: &[u8], expected: &[u8]) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("the server accepts");
    client.write_all(request).expect("the server reads");
    client
        .shutdown(Shutdown::Write)
        .expect("the connection is open");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the server answers");
    let text = answer.escape_ascii();
    assert!(answer.starts_with(expected), "an answer of {text}");
}

#[cfg(feature = "tls")]
pub fn answers_over_tls(server: &Server) {
    let mut client = support::tls::tls_client(&server.address.into());
    assert_eq!(support::tls::exchange(&mut client, "hello"), "hello");
}

/// Sends a DNS query over TCP, after its length, and checks the answer.
pub fn resolves(server: &Server, query: &[u8]) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("the server accepts");
    client.write_all(query).expect("the server reads");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("the server answers");
    assert!(is_answer(&answer[2..], &query[2..]), "{answer:?}");
}

pub fn resolves_datagram(server: &Server, query: &[u8]) {
    answers_datagram(server, query, |answer| is_answer(answer, query));
}

/// Whether the answer has the query's id and no error.
fn is_answer(answer: &[u8], query: &[u8]) -> bool {
    answer[..2] == query[..2] && answer[2] & 0x80 != 0 && answer[3] & 0x0f == 0
}

/// Checks that the server prints another line with this word. Datagrams may be dropped at first.
pub fn prints(server: &Server, word: &str, send: impl Fn()) {
    let printed = || server.output().matches(word).count();
    let before = printed();
    eventually("the line is printed", || {
        send();
        printed() > before
    });
}

/// Checks that a datagram is answered. The first ones may be dropped while the socket's buffer is
/// full.
pub fn answers_datagram(server: &Server, request: &[u8], is_right: impl Fn(&[u8]) -> bool) {
    let client = connect_udp(&server.address.into());
    let timeout = Some(Duration::from_millis(100));
    client
        .set_read_timeout(timeout)
        .expect("the timeout is not zero");
    eventually("a datagram is answered", || {
        client.send(request).expect("the datagram is sent");
        let mut answer = [0; 1000];
        let received = client.recv(&mut answer);
        received.is_ok_and(|length| is_right(&answer[..length]))
    });
}

#[cfg(feature = "auth-md5")]
pub mod with_key {
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;

    use socketserver::auth::{Multiprocessing, Plain};

    use crate::clients::connect_from;
    use crate::server::Server;

    pub fn accepts_the_key(server: &Server) {
        let mut client =
            connect_from(Ipv4Addr::LOCALHOST, server.address).expect("the server accepts");
        let plain = Plain::new("sesame");
        plain.answer(&mut client).expect("the key is right");
        client.write_all(b"hello").expect("the server reads");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("the server answers");
        assert_eq!(&answer, b"HELLO");
    }

    pub fn answers(server: &Server) {
        let client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("the server accepts");
        let connection = Multiprocessing::new("sesame").connect(client);
        let mut connection = connection.expect("the key is right");
        connection.send_bytes(b"hello").expect("the server reads");
        let answer = connection.recv_bytes().expect("the server answers");
        assert_eq!(answer.as_deref(), Some(&b"HELLO"[..]));
    }
}
