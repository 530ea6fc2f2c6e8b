//! The example `log_receiver` with Python's `SocketHandler`, and with hostile pickles.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use support::example::Example;
use support::{python, socket_folder};

use crate::PROGRAM;
use crate::script;

pub fn start() -> Example {
    Example::start(PROGRAM, &["127.0.0.1:0"])
}

pub fn connect(receiver: &Example) -> TcpStream {
    support::connect_to(&receiver.address)
}

pub fn read_line(receiver: &mut Example) -> String {
    let mut line = String::new();
    let read = receiver.stdout.read_line(&mut line);
    read.expect("the output is text");
    line
}

pub fn send(stream: &mut TcpStream, pickle: &[u8]) {
    let length = u32::try_from(pickle.len()).expect("the length fits");
    let message = [&length.to_be_bytes(), pickle].concat();
    stream.write_all(&message).expect("the server reads");
}

/// A dict with a message, in protocol 1.
pub fn good(message: &str) -> Vec<u8> {
    let length = u8::try_from(message.len()).expect("the length fits");
    [b"}(U\x03msgU", &[length][..], message.as_bytes(), b"u."].concat()
}

/// A record whose message is `message` and whose arguments are a tuple of `arguments`, all as pickled.
pub fn record(message: &[u8], arguments: &[u8]) -> Vec<u8> {
    let arguments = [b"(", arguments, b"t"].concat();
    [b"}(U\x03msg", message, b"U\x04args", &arguments, b"u."].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("the length fits");
    [b"X", &length.to_le_bytes()[..], text.as_bytes()].concat()
}

pub fn ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // The connection may also end with a reset, if the server has not read everything.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

/// Checks that the server prints the lines that the Python script expects.
fn prints_the_expected_lines(kind: &str) {
    let mut sender = python::script(&script("log_sender.py"));
    let mut receiver = start();
    let (host, port) = receiver.address.split_once(':').expect("HOST:PORT");
    let sender = sender.args([host, port, kind]);
    let sent = sender.env("PYTHONIOENCODING", "utf-8").output();
    let sent = sent.expect("python3 is installed");
    assert!(sent.status.success(), "{sent:?}");
    let expected = String::from_utf8(sent.stdout).expect("the output is text");
    assert!(expected.lines().count() > 5, "the script sends records");
    for line in expected.lines() {
        assert_eq!(read_line(&mut receiver).trim_end_matches('\n'), line);
    }
}

#[test]
fn records_of_the_python_socket_handler_are_printed() {
    prints_the_expected_lines("usual");
}

/// Python's handler formats the message before it sends a record. Other programs may not.
#[test]
fn arguments_are_formatted_like_python_in_every_pickle_protocol() {
    for protocol in ["0", "1", "2", "3", "4", "5"] {
        prints_the_expected_lines(protocol);
    }
}

/// No code is executed, no record exceeds the limits, and the next record is printed.
#[test]
fn hostile_pickles_are_refused_and_the_connection_stays_open() {
    let folder = socket_folder();
    let proof = folder.path().join("proof");
    let run = format!("cos\nsystem\n(S'touch {}'\ntR.", proof.display());
    let doubled = [b"]".to_vec(), b"2a".repeat(40), b".".to_vec()].concat();
    let nested = [b"]".repeat(200_000), b"a".repeat(199_999), b".".to_vec()].concat();
    let tuples = [b")".to_vec(), b"\x85".repeat(200_000), b".".to_vec()].concat();
    let mut laughs = b"]q\x00".to_vec();
    for level in 0..40 {
        laughs.extend([b'(', b'h', level, b'h', level, b'l', b'q', level + 1]);
    }
    laughs.push(b'.');
    let long_text = [&b"("[..], b"X\x00\x00\x08\x00", &[b'x'; 0x80000], b"q\x00"].concat();
    let copied = [long_text, b"h\x00".repeat(4000), b"l.".to_vec()].concat();
    let digits = [b"L".to_vec(), b"9".repeat(500_000), b"L\n.".to_vec()].concat();
    let memory = b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec();
    let hostile = [
        ("run", run.into_bytes()),
        ("doubled", doubled),
        ("nested", nested),
        ("tuples", tuples),
        ("laughs", laughs),
        ("copied", copied),
        ("digits", digits),
        ("memory", memory),
        ("empty", vec![]),
        ("no end", b"}".to_vec()),
        ("no dict", b"].".to_vec()),
        ("empty stack", b".".to_vec()),
        ("unknown", b"\xff.".to_vec()),
        ("escape", b"I\x1b[1m\n.".to_vec()),
    ];
    let mut receiver = start();
    let mut stream = connect(&receiver);
    for (name, pickle) in &hostile {
        send(&mut stream, pickle);
        send(&mut stream, &good(name));
        assert_eq!(read_line(&mut receiver), format!("- - -: {name}\n"));
    }
    assert!(!proof.exists(), "a pickle was executed");
    receiver.signal(Signal::SIGTERM);
    let (status, output, log) = receiver.finish();
    assert!(status.success());
    assert_eq!(output, "");
    assert_eq!(
        log.matches("a record from 127.0.0.1:").count(),
        hostile.len(),
        "{log}"
    );
    assert!(!log.contains('\x1b') && !log.contains("panicked"), "{log}");
}

/// The deepest nesting and the largest number of copies that are accepted.
#[test]
fn pickles_within_the_limits_are_accepted() {
    let nested = [b"]".repeat(128), b"a".repeat(126)].concat();
    let copies = [&b"(]q\0(K\x01e"[..], &b"h\0".repeat(16), b"t"].concat();
    let mut receiver = start();
    let mut stream = connect(&receiver);
    for (arguments, printed) in [
        (&nested[1..], ["[".repeat(127), "]".repeat(127)].concat()),
        (&copies, format!("({})", ["[1]"; 17].join(", "))),
    ] {
        let pickle = [b"}(U\x03msgU\x04goodU\x04args", arguments, b"u."].concat();
        send(&mut stream, &pickle);
        let line = read_line(&mut receiver);
        assert_eq!(line, format!("- - -: good {printed}\n"));
    }
}

#[test]
fn a_record_that_is_much_too_long_or_truncated_closes_only_its_connection() {
    let mut receiver = start();
    let mut other = connect(&receiver);
    for announced in [u32::MAX, (16 << 20) + 1] {
        let mut stream = connect(&receiver);
        stream
            .write_all(&announced.to_be_bytes())
            .expect("the server reads");
        ends(&mut stream);
    }
    for truncated in [&b"\0\0"[..], b"\0\0\0\x09}(U"] {
        let mut stream = connect(&receiver);
        stream.write_all(truncated).expect("the server reads");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("the connection is open");
        ends(&mut stream);
    }
    send(&mut other, &good("still here"));
    assert_eq!(read_line(&mut receiver), "- - -: still here\n");
    receiver.signal(Signal::SIGTERM);
    let (status, _, log) = receiver.finish();
    assert!(status.success());
    assert!(
        log.contains("the announced message is too long: 4294967295 bytes, 1048576 at most"),
        "{log}"
    );
    assert!(!log.contains("[ERROR]"), "{log}");
    // A client that closes inside a record has disconnected, which is no error.
    assert!(!log.contains("bytes are missing"), "{log}");
}

#[test]
fn a_record_that_is_too_long_is_skipped() {
    let mut receiver = start();
    let mut stream = connect(&receiver);
    for length in [(1 << 20) + 1, 16 << 20] {
        send(&mut stream, &vec![b'.'; length]);
        send(&mut stream, &good("the next one"));
        assert_eq!(read_line(&mut receiver), "- - -: the next one\n");
    }
    receiver.signal(Signal::SIGTERM);
    let (_, _, log) = receiver.finish();
    assert!(log.contains("1048577 bytes are too long"), "{log}");
    assert!(!log.contains("[ERROR]"), "{log}");
}

/// In 256 bytes and more, Python pickles a number with another instruction. It is limited to 1 KiB.
#[test]
fn a_whole_number_may_be_long() {
    let long = |length: u32| {
        let number = [&length.to_le_bytes()[..], &vec![0x11; length as usize]].concat();
        record(&text("%x"), &[b"\x8b", &number[..]].concat())
    };
    let mut receiver = start();
    let mut stream = connect(&receiver);
    for pickle in [long(1024), long(1025), good("the next one")] {
        send(&mut stream, &pickle);
    }
    let printed = format!("- - -: {}\n", "1".repeat(2048));
    assert_eq!(read_line(&mut receiver), printed);
    assert_eq!(read_line(&mut receiver), "- - -: the next one\n");
    receiver.signal(Signal::SIGTERM);
    let (_, _, log) = receiver.finish();
    assert!(log.contains("a number of 1025 bytes is too long"), "{log}");
}

/// A list that contains itself, and a text that is used twice.
#[test]
fn values_are_shared_like_in_python() {
    let mut receiver = start();
    let mut stream = connect(&receiver);
    let arguments = b"U\x03twoq\0h\0\x86q\x01h\x01";
    send(&mut stream, &record(&text("%s %s"), arguments));
    assert_eq!(
        read_line(&mut receiver),
        "- - -: ('two', 'two') ('two', 'two')\n"
    );
    // Filled after it was stored, as Python pickles each list.
    send(&mut stream, &record(&text("%s"), b"]q\0h\0K\x01a0"));
    assert_eq!(read_line(&mut receiver), "- - -: [1]\n");
    send(&mut stream, &record(&text("%.9s"), b"]q\0h\0a"));
    assert_eq!(read_line(&mut receiver), "- - -: [[[[[[[[[\n");
}

/// Neither escape codes nor other characters that change how the rest is shown.
#[test]
fn characters_that_are_not_printed_are_escaped() {
    let mut receiver = start();
    let mut stream = connect(&receiver);
    let message = "it's \"C:\\x\"\t\u{202e}\u{2066}\u{200f}\u{2028}\u{85}\u{9b}\u{7f}\r\0 e\u{301}";
    let shown =
        "it's \"C:\\x\"\t\\u{202e}\\u{2066}\\u{200f}\\u{2028}\\u{85}\\u{9b}\\u{7f}\\r\\0 e\u{301}";
    let named = [b"}(U\x04name", &text("a\u{2029}\nb")[..], b"U\x03msg"].concat();
    send(&mut stream, &[&named[..], &text(message), b"u."].concat());
    let line = read_line(&mut receiver);
    assert_eq!(line, format!("- - a\\u{{2029}}\\nb: {shown}\n"));
}

/// The network may fragment a record.
#[test]
fn a_fragmented_record_is_printed() {
    let mut receiver = start();
    let mut stream = connect(&receiver);
    stream.set_nodelay(true).expect("the option is set");
    let pickle = good("piece by piece");
    let length = u32::try_from(pickle.len()).expect("the length fits");
    for byte in [&length.to_be_bytes(), &pickle[..]].concat() {
        stream.write_all(&[byte]).expect("the server reads");
    }
    assert_eq!(read_line(&mut receiver), "- - -: piece by piece\n");
}
