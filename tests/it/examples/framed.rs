//! framed_server and framed_client, each with the other and with Python's struct, over bytes that
//! arrive in bursts and in crumbs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::Signal;

use support::example::{self, Example};
use support::{ANY, LONG, python, read_all};

const TEXTS: [&str; 4] = ["hello", "", "straße, naïve", "two words"];
const UPPER: &str = "HELLO\n\nSTRASSE, NAÏVE\nTWO WORDS\n";

/// A format, and what it makes of the length 5.
const FORMATS: [(&str, &[u8]); 5] = [
    ("!I", b"\0\0\0\x05"),
    ("!H", b"\0\x05"),
    ("<h", b"\x05\0"),
    ("B", b"\x05"),
    ("<q", b"\x05\0\0\0\0\0\0\0"),
];

/// The output of a program that ends well.
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// One line on stderr, and status 1.
fn complaint(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A server in Python, as `Example` holds one in Rust.
fn start_python(mut command: Command) -> Example {
    let mut child: Child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it prints text");
    let address = line.trim_end().strip_prefix("listening on ");
    Example {
        address: address.expect(&line).to_owned(),
        child,
        stdout,
    }
}

fn connect(server: &Example) -> TcpStream {
    let stream = TcpStream::connect(&server.address).expect("the server accepts");
    stream.set_read_timeout(Some(LONG)).expect("it can be set");
    stream.set_nodelay(true).expect("it can be set");
    stream
}

/// `!I` by hand.
fn frame(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("it is short");
    [&length.to_be_bytes(), message.as_bytes()].concat()
}

fn read_frame(mut stream: &TcpStream) -> String {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a reply comes");
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).expect("it comes whole");
    String::from_utf8(message).expect("it is text")
}

/// Ends the server, and returns its log.
fn end(server: Example) -> String {
    server.signal(Signal::SIGTERM);
    let (status, _, log) = server.finish();
    assert!(status.success(), "{log}");
    log
}

#[test]
fn a_python_client_is_answered_however_its_bytes_arrive() {
    for (format, _) in FORMATS {
        let server = Example::start("framed_server", &[ANY, "--prefix", format]);
        for cut in ["0", "1", "7"] {
            let mut client = python::script("framed_talk.py");
            client.args([&server.address, format, cut]).args(TEXTS);
            let output = client.output().expect("python3 runs");
            assert_eq!(stdout(output), UPPER, "{format}, {cut} bytes at a time");
        }
        assert!(!end(server).contains("ERROR"));
    }
}

#[test]
fn a_python_server_gets_the_bytes_that_struct_packs() {
    for (format, five) in FORMATS {
        for cut in ["0", "1"] {
            let mut command = python::script("framed_answer.py");
            command.args([format, cut]);
            let server = start_python(command);
            let arguments = [&server.address, "--prefix", format, "hello", "WORLD"];
            let output = example::run("framed_client", &arguments);
            assert_eq!(
                stdout(output),
                "HELLO\nWORLD\n",
                "{format}, {cut} bytes at a time"
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
fn client_and_server_understand_each_other() {
    for (format, _) in FORMATS {
        let server = Example::start("framed_server", &[ANY, "--prefix", format]);
        let arguments = [&[&*server.address, "--prefix", format], &TEXTS[..]].concat();
        assert_eq!(stdout(example::run("framed_client", &arguments)), UPPER);
    }
}

#[test]
fn more_than_all_buffers_hold_gets_through() {
    let server = Example::start("framed_server", &[ANY]);
    let text = "x".repeat(100_000);
    let mut arguments = vec![&*server.address];
    arguments.resize(18, &text);
    let output = stdout(example::run("framed_client", &arguments));
    assert_eq!(output.len(), 17 * 100_001);
}

#[test]
fn a_hundred_clients_converse_at_once() {
    let server = Example::start("framed_server", &[ANY]);
    let clients: Vec<_> = (0..100).map(|_| connect(&server)).collect();
    thread::scope(|scope| {
        for (number, stream) in clients.iter().enumerate() {
            scope.spawn(move || converse(stream, number));
        }
    });
    for stream in &clients {
        stream.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(read_all(stream), "", "nothing comes unasked");
    }
    assert!(!end(server).contains("ERROR"));
}

/// Twenty turns: bursts of messages at once, and then messages in pieces.
fn converse(mut stream: &TcpStream, client: usize) {
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
fn an_invalid_message_ends_its_own_connection_only() {
    let server = Example::start("framed_server", &[ANY]);
    let good = connect(&server);
    let wrong = [
        (&b"\0\0\0\x02\xff\xfe"[..], "invalid utf-8"),
        (
            b"\xff\xff\xff\xff",
            "the announced message is too long: 4294967295 bytes, 1048576 at most",
        ),
        (
            b"\0\0\0\x05he",
            "inside a message: 3 of 5 bytes are missing",
        ),
        (
            b"\0\0",
            "inside the length of a message: 2 of 4 bytes are missing",
        ),
    ];
    let mut logged = Vec::new();
    for (bytes, complaint) in wrong {
        let mut bad = connect(&server);
        bad.write_all(bytes).expect("the server reads");
        bad.shutdown(Shutdown::Write).expect("it is connected");
        logged.push((bad.local_addr().expect("it has one"), complaint));
        assert_eq!(read_all(bad), "");
    }
    (&good)
        .write_all(&frame("still there"))
        .expect("the server reads");
    assert_eq!(read_frame(&good), "STILL THERE");
    drop(good);

    let log = end(server);
    for (address, complaint) in logged {
        let address = format!("from {address}:");
        let line = log.lines().find(|line| line.contains(&address));
        assert!(line.expect(&log).contains(complaint), "{log}");
    }
}

#[test]
fn sigterm_ends_a_server_whose_client_is_idle() {
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
    let address = taken.local_addr().expect("it is bound").to_string();
    let line = complaint(example::run("framed_server", &[&address]));
    assert!(
        line.starts_with("framed_server: ") && line.contains(&address),
        "{line}"
    );

    let output = example::run("framed_server", &[ANY, "--prefix", "!f"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("it prints text");
    assert!(text.contains(r#""!f" is not a length format"#), "{text}");
}

#[test]
fn the_client_reports_what_went_wrong() {
    // Bound and not listening: no other program can take the port meanwhile.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket can be opened");
    let any: std::net::SocketAddr = ANY.parse().expect("it is one");
    socket.bind(&any.into()).expect("a port is free");
    let address = socket.local_addr().expect("it is bound").as_socket();
    let address = address.expect("it is TCP").to_string();
    let line = complaint(example::run("framed_client", &[&address, "hello"]));
    assert!(
        line.starts_with(&format!("framed_client: {address}: ")),
        "{line}"
    );

    let server = Example::start("framed_server", &[ANY, "--prefix", "!B"]);
    let long = "x".repeat(256);
    let line = complaint(example::run(
        "framed_client",
        &[&server.address, "--prefix", "!B", &long],
    ));
    assert!(
        line.contains("the message to send is too long: 256 bytes, 255 at most"),
        "{line}"
    );

    // Each reply is longer than its message, and the last too long for the server to send.
    let arguments = [&server.address, "--prefix", "!B", "ŉ", &"ŉ".repeat(127)];
    let output = example::run("framed_client", &arguments);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("it prints text");
    assert!(
        text.contains("the server closed the connection after 1 of 2 replies"),
        "{text}"
    );

    let output = example::run("framed_client", &[&server.address]);
    assert_eq!(output.status.code(), Some(2), "no text is wrong usage");
}
