//! The example `dns_server` and its master files.

use std::fs;
use std::net::UdpSocket;

use support::example::{self, Example};
use support::{LONG, socket_folder};

use crate::PROGRAM;
use crate::client::{A, TXT, answers, code, dig, query, refused, start_with};

const START: &str = "$ORIGIN a.example.\n$TTL 60\n@ SOA ns mail 1 2 3 4 5\n";

#[test]
fn the_error_names_file_and_line() {
    let long_name = format!("{} A 192.0.2.1", "y".repeat(64));
    let long_text = format!("x TXT {}", "y".repeat(256));
    for (bad, line, problem) in [
        ("x A 192.0.2.400", 4, "expected IPv4 address"),
        (
            "\n\nx A 192.0.2.400\nx A 192.0.2.4",
            6,
            "expected IPv4 address",
        ),
        ("x AAAA 192.0.2.4", 4, "expected IPv6 address"),
        ("x MX mail", 4, "expected decimal number"),
        ("x MX 10", 4, "something is missing at the end"),
        ("x NOTHING y", 4, "the record's type is missing or unknown"),
        (
            "x A 192.0.2.4 192.0.2.5",
            4,
            "there are more words than it takes",
        ),
        ("x TXT \"unclosed", 4, "a quote is not closed"),
        ("x TXT (\nunclosed", 4, "a bracket is not closed"),
        ("x TXT\nx TXT )", 5, "a bracket is closed that is not open"),
        ("x TXT \\", 4, "nothing follows a backslash"),
        (
            "b.example. A 192.0.2.1",
            4,
            "b.example. is outside the zone a.example.",
        ),
        (
            "\nx CNAME y\nx A 192.0.2.1",
            6,
            "x.a.example. has a CNAME record and others beside it",
        ),
        (
            "x A 192.0.2.1\nx CNAME y",
            5,
            "x.a.example. has a CNAME record and others beside it",
        ),
        (
            "x TXT \\300",
            4,
            "a character that is not allowed here: illegal escape sequence",
        ),
        (&long_name, 4, "a name that no domain can have"),
        (&long_text, 4, "a text is longer than 255 bytes"),
        (
            "$GENERATE 1-9 x$ A 192.0.2.$",
            4,
            "unknown directive: $GENERATE",
        ),
        ("$NOTHING", 4, "unknown directive: $NOTHING"),
        ("x CH TXT y", 4, "every record is of one class: CH != IN"),
    ] {
        let (output, file) = refused(format!("{START}{bad}\n").as_bytes());
        let message = String::from_utf8_lossy(&output.stderr);
        let expected = format!("dns_server: {file}:{line}: {problem}\n");
        assert_eq!(message, expected, "{bad}");
        assert_eq!(output.status.code(), Some(1), "{bad}");
    }
}

#[test]
fn the_first_record_must_have_a_name() {
    let (output, file) = refused(b"$ORIGIN a.example.\n  60 A 192.0.2.1\n");
    let message = String::from_utf8_lossy(&output.stderr);
    let expected = format!("dns_server: {file}:2: no name, and no record before this one\n");
    assert_eq!(message, expected);
}

#[test]
fn a_zone_must_have_one_soa_record() {
    for zone in ["", "$ORIGIN a.example.\nx 60 A 192.0.2.1\n"] {
        let (output, file) = refused(zone.as_bytes());
        let message = String::from_utf8_lossy(&output.stderr);
        let expected = format!("dns_server: {file}: there is no SOA record, and a zone has one\n");
        assert_eq!(message, expected, "{zone}");
        assert_eq!(output.status.code(), Some(1), "{zone}");
    }
    let (output, file) = refused(format!("{START}@ SOA ns mail 1 2 3 4 5").as_bytes());
    let message = String::from_utf8_lossy(&output.stderr);
    let expected = format!("{file}:4: a second SOA record; the first is at {file}:3\n");
    assert_eq!(message, format!("dns_server: {expected}"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn no_zone_file_causes_a_panic() {
    let zone = format!("{START}x TXT \"some text\" ( b \"c\" ) ; comment\ny MX 10 mail\n");
    let zone = zone.as_bytes();
    let mut bad = 0;
    for at in 0..zone.len() {
        for byte in [b'\n', b'"', b'(', b'\\', 0, 0xff] {
            if byte == b'(' || at % 4 == 0 {
                let broken = [&zone[..at], &[byte], &zone[at + 1..]].concat();
                bad += usize::from(is_refused_without_a_panic(&broken));
            }
        }
    }
    assert!(bad > 50, "only {bad} were refused");
}

/// Runs the server with an invalid address, so that it fails for a valid zone too. Returns whether
/// the error is about the zone.
fn is_refused_without_a_panic(zone: &[u8]) -> bool {
    let folder = socket_folder();
    let file = folder.path().join("z");
    fs::write(&file, zone).expect("the temporary folder is writable");
    let file = file.to_str().expect("the text is UTF-8");
    let output = example::run(PROGRAM, &["127.0.0.1:x", "--zone", file]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    message.contains("/z:")
}

#[test]
fn a_name_with_an_empty_label_is_refused() {
    for bad in ["x..y A 192.0.2.1", "x CNAME y..z", "x MX 10 y..z"] {
        let (output, file) = refused(format!("{START}{bad}\n").as_bytes());
        let message = String::from_utf8_lossy(&output.stderr);
        let expected = format!("dns_server: {file}:4: a name ");
        assert!(message.starts_with(&expected), "{bad}: {message}");
        assert_eq!(output.status.code(), Some(1), "{bad}");
    }
}

fn ask(server: &Example, name: &str, kind: u16) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket
        .set_read_timeout(Some(LONG))
        .expect("the option is set");
    socket
        .send_to(&query(1, name, kind), &server.address)
        .expect("the datagram is sent");
    let mut reply = [0; 2048];
    let length = socket.recv(&mut reply).expect("the server answers");
    reply[..length].to_vec()
}

#[test]
fn the_last_line_may_have_no_newline() {
    let server = start_with(&format!("{START}x A 192.0.2.1"));
    let reply = ask(&server, "x.a.example", A);
    assert_eq!((code(&reply), answers(&reply)), (0, 1));
}

#[test]
fn crlf_line_ends_and_blank_owners_are_accepted() {
    let zone = format!("{START}x A 192.0.2.1\n  A 192.0.2.2 ; two\n\n\tTXT ( \"a\"\n\"b\" )\n");
    let server = start_with(&zone.replace('\n', "\r\n"));
    assert_eq!(answers(&ask(&server, "x.a.example", A)), 2);
    assert_eq!(answers(&ask(&server, "x.a.example", TXT)), 1);
}

#[test]
fn included_files_are_relative_to_the_including_file() {
    let folder = socket_folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("more")).expect("the temporary folder is writable");
    let main =
        format!("{START}$INCLUDE more/one\n$INCLUDE more/two sub.a.example.\ny A 192.0.2.3\n");
    fs::write(path("main"), main).expect("the temporary folder is writable");
    fs::write(path("more/one"), "$INCLUDE three\n").expect("the temporary folder is writable");
    fs::write(path("more/two"), "x A 192.0.2.2\n").expect("the temporary folder is writable");
    fs::write(path("more/three"), "x 60 A 192.0.2.1\n").expect("the temporary folder is writable");
    let file = path("main").display().to_string();
    let server = Example::start(PROGRAM, &["127.0.0.1:0", "--zone", &file]);
    for name in ["x.a.example", "x.sub.a.example", "y.a.example"] {
        assert_eq!(answers(&ask(&server, name, A)), 1, "{name}");
    }
    {
        let answer = dig(&server, "x.sub.a.example A");
        let record = "\nx.sub.a.example. 60 IN A 192.0.2.2";
        assert!(answer.ends_with(record), "without default TTL: {answer}");
    }
    fs::write(path("more/three"), "x A\n").expect("the temporary folder is writable");
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--zone", &file]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("/more/three:1: something is missing at the end"),
        "{message}"
    );
    fs::remove_file(path("more/three")).expect("the file exists");
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--zone", &file]);
    let message = String::from_utf8_lossy(&output.stderr);
    let (one, three) = (path("more/one"), path("more/three"));
    let expected = format!(
        "dns_server: {}:1: cannot include {}: No such file",
        one.display(),
        three.display()
    );
    assert!(message.starts_with(&expected), "{message}");
    fs::write(path("more/three"), "$INCLUDE three").expect("the temporary folder is writable");
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--zone", &file]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.contains("/more/three:1: files include files too deep"),
        "{message}"
    );
}

#[test]
fn times_may_have_units() {
    let server = start_with(
        "$ORIGIN a.example.
        $TTL 1d
        @ IN SOA 1h 2h ( 2026112101 2h ; refresh
            30M 2w3D 1h30m5s )
        1h       A   192.0.2.1
                 1H  IN A 192.0.2.2
        2h  in 1m  CNAME 1h
        3h  90   CNAME 1h.a.example.
        a\\ 1h  1s TXT 1h \"a 1h b\" a\\ 1h
        $ORIGIN 1w
        4h  MX 10 5h
        "
        .replace("\n        ", "\n")
        .as_str(),
    );
    for (question, answer) in [
        (
            "a.example SOA",
            "a.example. 86400 IN SOA 1h.a.example. 2h.a.example. 2026112101 7200 1800 1468800 5405",
        ),
        (
            "1h.a.example A",
            "1h.a.example. 86400 IN A 192.0.2.1\n1h.a.example. 3600 IN A 192.0.2.2",
        ),
        (
            "2h.a.example CNAME",
            "2h.a.example. 60 IN CNAME 1h.a.example.",
        ),
        (
            "3h.a.example CNAME",
            "3h.a.example. 90 IN CNAME 1h.a.example.",
        ),
        (
            "a\\0321h.a.example TXT",
            "a\\0321h.a.example. 1 IN TXT \"1h\" \"a 1h b\" \"a 1h\"",
        ),
        (
            "4h.1w.a.example MX",
            "4h.1w.a.example. 86400 IN MX 10 5h.1w.a.example.",
        ),
    ] {
        let printed = dig(&server, question);
        let records = printed.lines().filter(|line| !line.starts_with(';'));
        assert_eq!(records.collect::<Vec<_>>().join("\n"), answer, "{question}");
    }
}

#[test]
fn an_invalid_time_is_refused() {
    for bad in [
        "$TTL 1y",
        "$TTL h",
        "$TTL 1h30",
        "$TTL 9999999w",
        "x 1y A 192.0.2.1",
        "x 9999999w A 192.0.2.1",
    ] {
        let (output, file) = refused(format!("{START}{bad}\n").as_bytes());
        let message = String::from_utf8_lossy(&output.stderr);
        let expected = format!("dns_server: {file}:4: ");
        assert!(message.starts_with(&expected), "{bad}: {message}");
    }
}

#[test]
fn the_origin_can_be_an_option() {
    let folder = socket_folder();
    let file = folder.path().join("zone").display().to_string();
    fs::write(&file, "@ 60 SOA ns mail 1 2 3 4 5\n").expect("the temporary folder is writable");
    let arguments = ["127.0.0.1:0", "--zone", &file, "--origin", "b.example"];
    let server = Example::start(PROGRAM, &arguments);
    assert_eq!(code(&ask(&server, "b.example", A)), 0);
    assert_eq!(code(&ask(&server, "x.b.example", A)), 3);
    let output = example::run(PROGRAM, &arguments[..3]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.ends_with("zone:1: a relative name, but no $ORIGIN and no --origin\n"),
        "{message}"
    );
}
