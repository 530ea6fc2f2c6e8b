//! `framed_server` and `framed_client` with each other and with Python's `struct`. Bytes arrive in
//! bursts and one by one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use support::example::{self, Example};
use support::{ANY, python, read_all};

const TEXTS: [&str; 4] = ["hello", "", "straße, naïve", "two words"];
const UPPER: &str = "HELLO\n\nSTRASSE, NAÏVE\nTWO WORDS\n";

/// Formats, and the bytes of the length 5 in each of them.
const FORMATS: [(&str, &[u8]); 5] = [
    ("!I", b"\0\0\0\x05"),
    ("!H", b"\0\x05"),
    ("<h", b"\x05\0"),
    ("B", b"\x05"),
    ("<q", b"\x05\0\0\0\0\0\0\0"),
];

/// The output of a program that ends with status 0.
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// The error line of a program that ends with status 1.
fn error_line(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("the output is text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Starts a Python server.
fn start_python(mut command: Command) -> Example {
    let mut child: Child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("the output is text");
    let address = line.trim_end().strip_prefix("listening on ");
    Example {
        address: address.expect(&line).to_owned(),
        child,
        stdout,
    }
}

fn connect(server: &Example) -> TcpStream {
    let stream = support::connect_to(&server.address);
    stream.set_nodelay(true).expect("the option is set");
    stream
}

/// A message with the prefix `!I`, built without the library.
fn frame(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("the length fits");
    [&length.to_be_bytes(), message.as_bytes()].concat()
}

fn read_frame(mut stream: &TcpStream) -> String {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a reply arrives");
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream
        .read_exact(&mut message)
        .expect("the reply is complete");
    String::from_utf8(message).expect("the text is UTF-8")
}

/// Stops the server, and returns its log.
fn end(server: Example) -> String {
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success(), "{log}");
    log
}

#[test]
fn a_python_client_is_answered_with_any_fragmentation() {
    for (format, _) in FORMATS {
        let server = Example::start("framed_server", &[ANY, "--prefix", format]);
        for piece in ["0", "1", "7"] {
            let mut client = python::script("framed_client.py");
            client.args([&server.address, format, piece]).args(TEXTS);
            let output = client.output().expect("python3 is installed");
            assert_eq!(stdout(output), UPPER, "{format}, {piece} bytes at a time");
        }
        assert!(!end(server).contains("ERROR"));
    }
}

#[test]
fn a_python_server_receives_the_bytes_of_struct_pack() {
    for (format, five) in FORMATS {
        for piece in ["0", "1"] {
            let mut command = python::script("framed_server.py");
            command.args([format, piece]);
            let server = start_python(command);
            let arguments = [&server.address, "--prefix", format, "hello", "WORLD"];
            let output = example::run("framed_client", &arguments);
            assert_eq!(
                stdout(output),
                "HELLO\nWORLD\n",
                "{format}, {piece} bytes at a time"
            );

            let (status, received, log) = server.finish();
            assert!(status.success(), "{log}");
            let expected = [five, b"hello", five, b"WORLD"].concat();
            let expected: String = expected.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(received.trim_end(), expected, "{format}");
        }
    }
}

#[test]
fn client_and_server_exchange_messages() {
    for (format, _) in FORMATS {
        let server = Example::start("framed_server", &[ANY, "--prefix", format]);
        let arguments = [&[&*server.address, "--prefix", format], &TEXTS[..]].concat();
        assert_eq!(stdout(example::run("framed_client", &arguments)), UPPER);
    }
}

#[test]
fn messages_larger_than_all_buffers() {
    let server = Example::start("framed_server", &[ANY]);
    let text = "x".repeat(100_000);
    let mut arguments = vec![&*server.address];
    arguments.resize(18, &text);
    let output = stdout(example::run("framed_client", &arguments));
    assert_eq!(output.len(), 17 * 100_001);
}

#[test]
fn a_hundred_clients_at_once() {
    let server = Example::start("framed_server", &[ANY]);
    let clients: Vec<_> = (0..100).map(|_| connect(&server)).collect();
    thread::scope(|scope| {
        for (number, stream) in clients.iter().enumerate() {
            scope.spawn(move || exchange_many(stream, number));
        }
    });
    for stream in &clients {
        stream
            .shutdown(Shutdown::Write)
            .expect("the socket is connected");
        assert_eq!(read_all(stream), "", "nothing else is received");
    }
    assert!(!end(server).contains("ERROR"));
}

/// Twenty rounds, with bursts of messages and with fragmented messages.
fn exchange_many(mut stream: &TcpStream, client: usize) {
    for turn in 0..20 {
        let words: Vec<_> = (0..5)
            .map(|n| format!("client {client} {}", "ab".repeat(turn * n * client)))
            .collect();
        let burst: Vec<u8> = words.iter().flat_map(|word| frame(word)).collect();
        let pieces = if turn % 2 == 0 { 1 } else { 1 + client % 9 };
        for piece in burst.chunks(burst.len().div_ceil(pieces)) {
            stream.write_all(piece).expect("the server reads");
        }
        for word in words {
            assert_eq!(read_frame(stream), word.to_uppercase());
        }
    }
}

#[test]
fn an_invalid_message_closes_its_own_connection_only() {
    let server = Example::start("framed_server", &[ANY]);
    let good = connect(&server);
    let wrong = [
        (&b"\0\0\0\x02\xff\xfe"[..], "invalid utf-8"),
        (
            b"\xff\xff\xff\xff",
            "the announced message is too long: 4294967295 bytes, 1048576 at most",
        ),
        // A client that closes inside a message or its length has disconnected, which is no error.
        (b"\0\0\0\x05he", ""),
        (b"\0\0", ""),
    ];
    let mut logged = Vec::new();
    for (bytes, error_line) in wrong {
        let mut bad = connect(&server);
        bad.write_all(bytes).expect("the server reads");
        bad.shutdown(Shutdown::Write)
            .expect("the socket is connected");
        logged.push((
            bad.local_addr().expect("the client has an address"),
            error_line,
        ));
        assert_eq!(read_all(bad), "");
    }
    (&good)
        .write_all(&frame("still there"))
        .expect("the server reads");
    assert_eq!(read_frame(&good), "STILL THERE");
    drop(good);

    let log = end(server);
    for (address, error_line) in logged {
        let address = format!("from {address}:");
        let line = log.lines().find(|line| line.contains(&address));
        assert_eq!(line.is_none(), error_line.is_empty(), "{log}");
        assert!(line.unwrap_or_default().contains(error_line), "{log}");
    }
}

/// Upper case may have up to three times as many bytes.
#[test]
fn a_reply_over_the_limit_closes_its_own_connection_only() {
    const LIMIT: usize = 1 << 20;
    let server = Example::start("framed_server", &[ANY]);
    let good = connect(&server);
    let upper = "\u{399}\u{308}\u{301}";
    for (letter, upper, count) in [("\u{390}", upper, LIMIT / 6), ("x", "X", LIMIT)] {
        (&good)
            .write_all(&frame(&letter.repeat(count)))
            .expect("the server reads");
        assert!(read_frame(&good) == upper.repeat(count), "{letter}");
    }
    for (letter, count) in [
        ("\u{390}", LIMIT / 6 + 1),
        ("\u{390}", LIMIT / 2),
        ("\u{390}", LIMIT / 2 + 1),
    ] {
        let mut bad = connect(&server);
        // The last one is too long itself, and is not read to its end.
        let _ = bad.write_all(&frame(&letter.repeat(count)));
        let mut reply = Vec::new();
        let _ = bad.read_to_end(&mut reply);
        assert_eq!(reply, b"", "{letter} {count}");
    }
    (&good)
        .write_all(&frame("still there"))
        .expect("the server reads");
    assert_eq!(read_frame(&good), "STILL THERE");
    drop(good);
    let log = end(server);
    for reason in [
        "the reply to 349526 bytes: the message to send is too long: 1048578 bytes, 1048576 at most",
        "the reply to 1048576 bytes: the message to send is too long: 3145728 bytes, 1048576 at most",
        "the announced message is too long: 1048578 bytes, 1048576 at most",
    ] {
        assert_eq!(log.matches(reason).count(), 1, "{reason}: {log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn sigterm_ends_a_server_with_an_idle_client() {
    let server = Example::start("framed_server", &[ANY]);
    let mut client = connect(&server);
    client.write_all(&frame("hello")).expect("the server reads");
    assert_eq!(read_frame(&client), "HELLO");
    let log = end(server);
    assert!(!log.contains("ERROR"), "{log}");
    assert_eq!(read_all(client), "");
}

#[test]
fn the_server_reports_why_it_cannot_start() {
    let taken = TcpListener::bind(ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    let line = error_line(example::run("framed_server", &[&address]));
    assert!(
        line.starts_with("framed_server: ") && line.contains(&address),
        "{line}"
    );

    let output = example::run("framed_server", &[ANY, "--prefix", "!f"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("the output is text");
    assert!(text.contains(r#""!f" is not a length format"#), "{text}");
}

#[test]
fn the_client_reports_errors() {
    // The socket is bound and does not listen, so no other program can use the port.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket can be created");
    let any: std::net::SocketAddr = ANY.parse().expect("the text is an address");
    socket.bind(&any.into()).expect("a port is free");
    let address = socket
        .local_addr()
        .expect("the socket is bound")
        .as_socket();
    let address = address.expect("the server has a TCP address").to_string();
    let line = error_line(example::run("framed_client", &[&address, "hello"]));
    assert!(
        line.starts_with(&format!("framed_client: {address}: ")),
        "{line}"
    );

    let server = Example::start("framed_server", &[ANY, "--prefix", "!B"]);
    let long = "x".repeat(256);
    let line = error_line(example::run(
        "framed_client",
        &[&server.address, "--prefix", "!B", &long],
    ));
    assert!(
        line.contains("the message to send is too long: 256 bytes, 255 at most"),
        "{line}"
    );

    // Each reply is longer than its message. The last reply is too long for the prefix.
    let arguments = [&server.address, "--prefix", "!B", "ŉ", &"ŉ".repeat(127)];
    let output = example::run("framed_client", &arguments);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("the output is text");
    assert!(
        text.contains("the server closed the connection after 1 of 2 replies"),
        "{text}"
    );

    let output = example::run("framed_client", &[&server.address]);
    assert_eq!(
        output.status.code(),
        Some(2),
        "a missing text is a usage error"
    );
}
