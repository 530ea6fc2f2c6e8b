//! Whether a server still serves a proper client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::time::Duration;

use crate::clients::connect_from;
use crate::server::Server;

use support::{connect_udp, eventually};

/// The answer begins with these bytes.
pub fn answers(server: &Server, request: &[u8], expected: &[u8]) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
    client.write_all(request).expect("it reads");
    client.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it answers");
    let text = answer.escape_ascii();
    assert!(answer.starts_with(expected), "an answer of {text}");
}

/// A query as it is sent over TCP: behind its length.
pub fn resolves(server: &Server, query: &[u8]) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
    client.write_all(query).expect("it reads");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("it answers");
    assert!(is_answer(&answer[2..], &query[2..]), "{answer:?}");
}

pub fn resolves_datagram(server: &Server, query: &[u8]) {
    answers_datagram(server, query, |answer| is_answer(answer, query));
}

/// It has the query's number, and is an answer without an error.
fn is_answer(answer: &[u8], query: &[u8]) -> bool {
    answer[..2] == query[..2] && answer[2] & 0x80 != 0 && answer[3] & 0x0f == 0
}

/// One line with the word more than before. What is sent may be dropped at first.
pub fn prints(server: &Server, word: &str, send: impl Fn()) {
    let printed = || server.output().matches(word).count();
    let before = printed();
    eventually("it is printed", || {
        send();
        printed() > before
    });
}

/// Sooner or later: while the socket's buffer is full of what came before, datagrams are dropped.
pub fn answers_datagram(server: &Server, request: &[u8], is_right: impl Fn(&[u8]) -> bool) {
    let client = connect_udp(&server.address.into());
    let patience = Some(Duration::from_millis(100));
    client.set_read_timeout(patience).expect("not zero");
    eventually("a datagram is answered", || {
        client.send(request).expect("loopback takes it");
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
        let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
        let plain = Plain::new("sesame");
        plain.answer(&mut client).expect("the key is right");
        client.write_all(b"hello").expect("it reads");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"HELLO");
    }

    pub fn answers(server: &Server) {
        let client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
        let connection = Multiprocessing::new("sesame").connect(client);
        let mut connection = connection.expect("the key is right");
        connection.send_bytes(b"hello").expect("it reads");
        let answer = connection.recv_bytes().expect("it answers");
        assert_eq!(answer.as_deref(), Some(&b"HELLO"[..]));
    }
}
