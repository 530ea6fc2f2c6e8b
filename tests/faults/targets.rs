//! The example servers that random bytes are thrown at: a new one needs a line here.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};

use crate::clients::{connect_from, connect_unnamed};
use crate::server::Server;
use crate::support::{connect_udp, eventually};

pub struct Target {
    pub example: &'static str,
    pub options: &'static str,
    /// The example that it passes on to.
    behind: Option<&'static str>,
    pub transport: Transport,
    /// A real request, to be truncated.
    pub request: &'static [u8],
    /// Fails unless a proper client is served.
    pub check: fn(&Server),
}

#[derive(Debug)]
pub enum Transport {
    Tcp,
    Udp,
    UnixDatagram,
}

impl Target {
    /// Starts it, and what it passes on to.
    pub fn start(&self) -> (Server, Option<Server>) {
        let Some(example) = self.behind else {
            return (Server::example(self.example, self.options), None);
        };
        let behind = Server::example(example, "");
        let address = behind.address.to_string();
        (Server::example(self.example, &address), Some(behind))
    }
}

const fn tcp(example: &'static str, request: &'static [u8], check: fn(&Server)) -> Target {
    Target {
        example,
        options: "",
        behind: None,
        transport: Transport::Tcp,
        request,
        check,
    }
}

const fn udp(example: &'static str, check: fn(&Server)) -> Target {
    Target {
        transport: Transport::Udp,
        ..tcp(example, b"hello", check)
    }
}

const FRAME: &[u8] = b"\0\0\0\x05hello";
/// A pickled dict with a message.
const RECORD: &[u8] = b"\0\0\0\x10}(U\x03msgU\x05hellou.";

const MESSAGE: &[u8] = b"<13>Nov 21 12:00:00 host tag: hello\n";
const CHECK: &[u8] = b"<13>Nov 21 12:00:00 host tag: served\n";
const ZONE: &str = "--zone examples/dns_server/example.zone";
/// The address of www.example.com, as it is asked for over TCP.
const QUERY: &[u8] =
    b"\0\x21\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";

pub const TARGETS: &[Target] = &[
    tcp("echo_server", b"hello\n", |s| {
        answers(s, b"hello\n", b"hello\n")
    }),
    Target {
        options: "--server tcp",
        ..tcp("echo_server", b"hello\n", |s| {
            answers(s, b"hello\n", b"hello\n")
        })
    },
    tcp("upper_server", b"hello\n", |s| {
        answers(s, b"hello\n", b"HELLO")
    }),
    tcp("hello_server", b"Ada\nexit\n", |s| {
        answers(s, b"Ada\n", b"Welcome!Hello, Ada!\n")
    }),
    tcp("framed_server", FRAME, |s| {
        answers(s, FRAME, b"\0\0\0\x05HELLO")
    }),
    tcp("chat_server", b"/nick ada\n/who\nhello\n/quit\n", |s| {
        answers(s, b"/quit\n", b"* welcome")
    }),
    tcp("log_receiver", RECORD, |s| {
        prints(s, "hello", || answers(s, RECORD, b""))
    }),
    tcp("http_server", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", |s| {
        answers(s, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200")
    }),
    tcp("kv_server", b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n", |s| {
        answers(s, b"PING\r\n", b"+PONG\r\n")
    }),
    Target {
        options: ZONE,
        ..tcp("dns_server", QUERY, resolves)
    },
    Target {
        options: ZONE,
        request: QUERY,
        ..udp("dns_server", resolves)
    },
    tcp("syslog_server", MESSAGE, |s| {
        prints(s, "served", || answers(s, CHECK, b""))
    }),
    Target {
        request: MESSAGE,
        ..udp("syslog_server", |s| {
            let client = connect_udp(&s.address.into());
            prints(s, "served", || drop(client.send(CHECK)))
        })
    },
    Target {
        options: "--unix SOCKET",
        transport: Transport::UnixDatagram,
        ..tcp("syslog_server", MESSAGE, |s| {
            let client = connect_unnamed(&s.socket).expect("it is bound");
            prints(s, "served", || drop(client.send(CHECK)))
        })
    },
    Target {
        behind: Some("echo_server"),
        ..tcp("relay", b"hello\n", |s| answers(s, b"hello\n", b"hello\n"))
    },
    tcp("status", b"hello\n", |s| answers(s, b"hello\n", b"hello\n")),
    udp("udp_server", |s| answers_datagram(s, b"received")),
    udp("udp_echo_server", |s| answers_datagram(s, b"hello")),
    Target {
        options: "--threading",
        ..udp("udp_echo_server", |s| answers_datagram(s, b"hello"))
    },
    #[cfg(feature = "auth-md5")]
    Target {
        options: "--key sesame",
        ..tcp("auth_server", &[b'.'; 40], with_key::lets_in)
    },
    #[cfg(feature = "auth-md5")]
    Target {
        options: "--key sesame",
        ..tcp(
            "mp_server",
            b"\0\0\0\x17#CHALLENGE#{sha256}....\0\0\0\x05hello",
            with_key::answers,
        )
    },
];

/// All that comes back begins with these bytes.
fn answers(server: &Server, request: &[u8], expected: &[u8]) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
    client.write_all(request).expect("it reads");
    client.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it answers");
    let text = answer.escape_ascii();
    assert!(answer.starts_with(expected), "an answer of {text}");
}

/// The answer repeats the query's number, and says that it is an answer without an error.
fn resolves(server: &Server) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
    client.write_all(QUERY).expect("it reads");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer[2..4], QUERY[2..4]);
    assert_eq!(
        (answer[4] & 0x80, answer[5] & 0x0f),
        (0x80, 0),
        "{answer:?}"
    );
}

/// One line with the word more than before. What is sent may be dropped at first.
fn prints(server: &Server, word: &str, send: impl Fn()) {
    let printed = || server.output().matches(word).count();
    let before = printed();
    eventually("it is printed", || {
        send();
        printed() > before
    });
}

/// Sooner or later: while the socket's buffer is full of what came before, datagrams are dropped.
fn answers_datagram(server: &Server, expected: &[u8]) {
    let client = connect_udp(&server.address.into());
    let patience = std::time::Duration::from_millis(100);
    client.set_read_timeout(Some(patience)).expect("not zero");
    eventually("a datagram is answered", || {
        client.send(b"hello").expect("loopback takes it");
        let mut answer = [0; 100];
        let received = client.recv(&mut answer);
        received.is_ok_and(|length| &answer[..length] == expected)
    });
}

#[cfg(feature = "auth-md5")]
mod with_key {
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;

    use socketserver::auth::{Multiprocessing, Plain};

    use crate::clients::connect_from;
    use crate::server::Server;

    pub fn lets_in(server: &Server) {
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
