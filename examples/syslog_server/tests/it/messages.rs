//! The example `syslog_server` with all forms of messages, and with messages that are truncated,
//! too long or forged.

use std::io::{BufRead, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};

use nix::sys::signal::Signal;
use proptest::prelude::RngCore;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::example::Example;

use crate::PROGRAM;

fn start() -> Example {
    Example::start(PROGRAM, &["127.0.0.1:0"])
}

fn connect(server: &Example) -> TcpStream {
    let stream = TcpStream::connect(&server.address).expect("the server accepts");
    stream.set_nodelay(true).expect("the option is set");
    stream
}

fn line(server: &mut Example) -> String {
    let mut line = String::new();
    server
        .stdout
        .read_line(&mut line)
        .expect("the output is text");
    assert!(!line.is_empty(), "the server has not ended");
    line.trim_end_matches('\n').to_owned()
}

fn send(server: &Example, packet: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket
        .send_to(packet, &server.address)
        .expect("the datagram is sent");
}

#[test]
fn every_message_form_is_parsed() {
    let mut server = start();
    for (message, printed) in [
        (
            "<34>1 2003-10-11T22:14:15.003Z h su - ID47 - 'su root' failed",
            "auth.crit h su: 'su root' failed",
        ),
        (
            "<165>1 - h app 8 ID [x@1 a=\"]\\\"]\" b=\"\"][y] text",
            "local4.notice h app[8]: text",
        ),
        ("<165>1 - h app - - [x]", "local4.notice h app: "),
        (
            "<165>1 - h app - - - \u{feff}BOM",
            "local4.notice h app: BOM",
        ),
        (
            "<165>1 - - - - - - nothing known",
            "local4.notice 127.0.0.1 -: nothing known",
        ),
        // Not valid in the new form, so they are texts of the old form.
        (
            "<165>1 - h app - - [x open",
            "local4.notice 127.0.0.1 -: 1 - h app - - [x open",
        ),
        (
            "<165>2 - h app - - - text",
            "local4.notice 127.0.0.1 -: 2 - h app - - - text",
        ),
        (
            "<34>Oct 11 22:14:15 h su: 'su root' failed",
            "auth.crit h su: 'su root' failed",
        ),
        (
            "<34>Oct  1 22:14:15 h su[9]: text",
            "auth.crit h su[9]: text",
        ),
        (
            "<34>Oct 11 22:14:15 2001:db8::1 su: text",
            "auth.crit 2001:db8::1 su: text",
        ),
        (
            "<34>Oct 11 22:14:15 su: no host",
            "auth.crit 127.0.0.1 su: no host",
        ),
        ("<34>Oct 11 22:14:15 h no tag", "auth.crit h -: no tag"),
        ("<34>su: no time", "auth.crit 127.0.0.1 su: no time"),
        ("<34>no tag", "auth.crit 127.0.0.1 -: no tag"),
        (
            "<34>http://example.com",
            "auth.crit 127.0.0.1 -: http://example.com",
        ),
        ("no priority", "user.notice 127.0.0.1 -: no priority"),
        ("<191>x", "local7.debug 127.0.0.1 -: x"),
        ("<0>x", "kern.emerg 127.0.0.1 -: x"),
        ("<192>x", "user.notice 127.0.0.1 -: <192>x"),
        ("<0001>x", "user.notice 127.0.0.1 -: <0001>x"),
        ("<>x", "user.notice 127.0.0.1 -: <>x"),
        ("<13", "user.notice 127.0.0.1 -: <13"),
        (
            "<13>Öct 11 22:14:15 é",
            "user.notice 127.0.0.1 -: Öct 11 22:14:15 é",
        ),
    ] {
        send(&server, message.as_bytes());
        assert_eq!(line(&mut server), printed, "{message}");
    }
}

#[test]
fn a_message_cannot_imitate_two_messages() {
    let mut server = start();
    for (message, printed) in [
        (&b"<13>a: b\n<13>c: d\r\n\0"[..], r"a: b\n<13>c: d"),
        (b"<13>a\x1b[2Jb: c\x85 \x7f", r"a\u{1b}[2Jb: c� \u{7f}"),
        ("<13>a: b\u{2028}c\u{85}".as_bytes(), r"a: b\u{2028}c\u{85}"),
        (
            "<13>a: it's \"so\" e\u{301}\u{2028}\u{200f}\u{61c}\u{2069}\u{feff}".as_bytes(),
            "a: it's \"so\" e\u{301}\\u{2028}\\u{200f}\\u{61c}\\u{2069}\\u{feff}",
        ),
        (b"<13>a: \\n is not \n", r"a: \\n is not "),
        (b"<13>\xff\xfe", r"-: ��"),
    ] {
        send(&server, message);
        let expected = format!("user.notice 127.0.0.1 {printed}");
        assert_eq!(line(&mut server), expected, "{message:?}");
    }
    let host = b"<13>1 - h\nuser.emerg app\tx - - - text";
    send(&server, host);
    assert_eq!(line(&mut server), r"user.notice h\nuser.emerg app\tx: text");
}

/// Messages with a length and messages with an end mark on one connection, in one burst and byte by
/// byte.
#[test]
fn each_message_of_a_connection_has_its_own_framing() {
    const SENT: &[&[u8]] = &[
        b"<13>a: newline\n",
        b"14 <13>a: counted",
        b"19 <13>a: has\nnewline\n",
        b"<13>a: zero byte\0",
        b"\n\0\n",
        b"8 <13>a: \n",
        b"12 apples\n",
        b"0 <13>a: nothing\n",
        b"1234567 <13>a: too long a number\n",
        b"<13>a: windows\r\n",
        b"14 <13>a: counted",
        b"<13>a: no end",
    ];
    const PRINTED: &[&str] = &[
        "127.0.0.1 a: newline",
        "127.0.0.1 a: counted",
        r"127.0.0.1 a: has\nnewline",
        "127.0.0.1 a: zero byte",
        "127.0.0.1 a: ",
        "127.0.0.1 -: 12 apples",
        "127.0.0.1 a: nothing",
        "127.0.0.1 -: 1234567 <13>a: too long a number",
        "127.0.0.1 a: windows",
        "127.0.0.1 a: counted",
        "127.0.0.1 a: no end",
    ];
    let sent = SENT.concat();
    for piece in [1, 7, sent.len()] {
        let mut server = start();
        let mut stream = connect(&server);
        for piece in sent.chunks(piece) {
            stream.write_all(piece).expect("the server reads");
        }
        stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
        for printed in PRINTED {
            assert_eq!(line(&mut server), format!("user.notice {printed}"));
        }
    }
}

#[test]
fn a_message_that_is_too_long_is_truncated() {
    let mut server = start();
    let text = "x".repeat(20_000);
    let kept = "x".repeat(8192 - "<13>".len());
    let long = format!("<13>{text}");
    let expected = format!("user.notice 127.0.0.1 -: {kept} [cut off]");
    let mut stream = connect(&server);
    for message in [format!("{long}\n"), format!("{} {long}", long.len())] {
        stream
            .write_all(message.as_bytes())
            .expect("the server reads");
        assert_eq!(line(&mut server), expected);
        stream
            .write_all(b"<13>a: next\n")
            .expect("the server reads");
        assert_eq!(line(&mut server), "user.notice 127.0.0.1 a: next");
    }
    send(&server, long.as_bytes());
    assert_eq!(line(&mut server), expected);
}

#[test]
fn a_message_that_ends_too_early_is_printed_truncated() {
    let mut server = start();
    let mut stream = connect(&server);
    stream.write_all(b"40 <13>a: b").expect("the server reads");
    drop(stream);
    assert_eq!(line(&mut server), "user.notice 127.0.0.1 a: b [cut off]");
}

/// 50 connections with 100 messages each: all lines are printed completely.
#[test]
fn lines_of_concurrent_clients_are_not_mixed() {
    let mut server = start();
    let mut streams: Vec<_> = (0..50).map(|_| connect(&server)).collect();
    for n in 0..100 {
        for (client, stream) in streams.iter_mut().enumerate() {
            writeln!(stream, "<13>c{client}: {n}").expect("the server reads");
        }
    }
    let mut next = vec![0; streams.len()];
    for _ in 0..100 * streams.len() {
        let line = line(&mut server);
        let rest = line.strip_prefix("user.notice 127.0.0.1 c").expect(&line);
        let (client, n) = rest.split_once(": ").expect(&line);
        let client: usize = client.parse().expect(&line);
        assert_eq!(n, next[client].to_string(), "{line}");
        next[client] += 1;
    }
}

#[test]
fn the_server_survives_random_bytes() {
    let mut server = start();
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut stream = connect(&server);
    for _ in 0..2000 {
        let mut bytes = vec![0; rng.next_u32() as usize % 200];
        rng.fill_bytes(&mut bytes);
        let packet = [b"<13>1 ", &bytes[..]].concat();
        send(&server, &packet);
        assert!(line(&mut server).starts_with("user.notice "), "{packet:?}");
        stream.write_all(&bytes).expect("the server reads");
        stream.write_all(b"\n<13>end\n").expect("the server reads");
        while line(&mut server) != "user.notice 127.0.0.1 -: end" {}
    }
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success());
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[test]
fn an_idle_connection_does_not_delay_the_shutdown() {
    let mut server = start();
    let mut stream = connect(&server);
    stream.write_all(b"<13>a: b\n").expect("the server reads");
    assert_eq!(line(&mut server), "user.notice 127.0.0.1 a: b");
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}
