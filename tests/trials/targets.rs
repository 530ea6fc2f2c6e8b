//! The example servers that receive random bytes. A new example needs an entry here.

#[cfg(feature = "tls")]
use crate::checks::answers_over_tls;
#[cfg(feature = "auth-md5")]
use crate::checks::with_key;
use crate::checks::{answers, answers_datagram, prints, resolves, resolves_datagram};
use crate::clients::connect_unnamed;
#[cfg(feature = "green")]
use crate::server::GREEN;
use crate::server::Server;

use support::connect_udp;

pub struct Target {
    pub example: &'static str,
    pub options: &'static str,
    /// The example that is the target of a relay.
    upstream: Option<&'static str>,
    pub transport: Transport,
    /// A valid request, which is truncated.
    pub request: &'static [u8],
    /// Fails unless a regular client is served.
    pub check: fn(&Server),
}

#[derive(Debug)]
pub enum Transport {
    Tcp,
    Udp,
    UnixDatagram,
}

impl Target {
    /// Starts the server, and the target of a relay.
    pub fn start(&self) -> (Server, Option<Server>) {
        let Some(example) = self.upstream else {
            return (Server::example(self.example, self.options), None);
        };
        let upstream = Server::example(example, "");
        let address = upstream.address.to_string();
        (Server::example(self.example, &address), Some(upstream))
    }
}

const fn tcp(example: &'static str, request: &'static [u8], check: fn(&Server)) -> Target {
    Target {
        example,
        options: "",
        upstream: None,
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

/// The begin of a TLS handshake: the header of a record and of a ClientHello.
#[cfg(feature = "tls")]
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

const MESSAGE: &[u8] = b"<13>Nov 21 12:00:00 host tag: hello\n";
const CHECK: &[u8] = b"<13>Nov 21 12:00:00 host tag: served\n";
const ZONE: &str = "--zone ../examples/dns_server/example.zone";
/// A query for the address of www.example.com over TCP.
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
    #[cfg(feature = "green")]
    Target {
        options: GREEN,
        ..tcp("echo_server", b"hello\n", |s| {
            answers(s, b"hello\n", b"hello\n")
        })
    },
    #[cfg(feature = "tls")]
    Target {
        options: "TLS",
        ..tcp("echo_server", HELLO, answers_over_tls)
    },
    #[cfg(all(feature = "green", feature = "tls"))]
    Target {
        options: "--server green-tcp --workers 2 TLS",
        ..tcp("echo_server", HELLO, answers_over_tls)
    },
    tcp(
        "mail_server",
        b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
        |s| answers(s, b"QUIT\r\n", b"220 "),
    ),
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
        ..tcp("dns_server", QUERY, |s| resolves(s, QUERY))
    },
    Target {
        options: ZONE,
        request: QUERY.split_at(2).1,
        ..udp("dns_server", |s| resolves_datagram(s, &QUERY[2..]))
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
            let client = connect_unnamed(&s.socket).expect("the socket is bound");
            prints(s, "served", || drop(client.send(CHECK)))
        })
    },
    Target {
        upstream: Some("echo_server"),
        ..tcp("relay", b"hello\n", |s| answers(s, b"hello\n", b"hello\n"))
    },
    tcp("status", b"hello\n", |s| answers(s, b"hello\n", b"hello\n")),
    udp("udp_server", |s| {
        answers_datagram(s, b"hello", |answer| answer == b"received")
    }),
    udp("udp_echo_server", |s| {
        answers_datagram(s, b"hello", |answer| answer == b"hello")
    }),
    Target {
        options: "--threading",
        ..udp("udp_echo_server", |s| {
            answers_datagram(s, b"hello", |answer| answer == b"hello")
        })
    },
    #[cfg(feature = "auth-md5")]
    Target {
        options: "--key sesame",
        ..tcp("auth_server", &[b'.'; 40], with_key::accepts_the_key)
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
