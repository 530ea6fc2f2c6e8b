//! The example `kv_server` and clients that send invalid data: the server closes at most the
//! connection of that client.

use std::io::{Read, Write};
use std::net::Shutdown;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::example::Example;
use support::process::peak_resident;

use crate::PROGRAM;
use crate::resp::Client;

support::for_threads_and_green! {
    a_disconnect_inside_a_command_is_not_logged_as_an_error
    announced_lengths_use_no_memory
    clients_beyond_the_limit_get_an_error
    random_bytes_do_not_stop_the_server
}

fn start(options: &[&str]) -> Example {
    Example::start(PROGRAM, &[&["127.0.0.1:0"], options].concat())
}

fn still_answers(server: &Example) {
    assert_eq!(Client::connect(&server.address).run("PING"), "PONG");
}

#[test]
fn invalid_commands_get_an_error_and_close_the_connection() {
    let server = start(&[]);
    let line = "x".repeat(1 << 16);
    for (sent, expected) in [
        ("*x\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*1 \r\n", "invalid multibulk length"),
        ("*9223372036854775808\r\n", "invalid multibulk length"),
        ("*1000000\r\n", "invalid multibulk length"),
        ("*1\r\nPING\r\n", "expected '$', got 'P'"),
        ("*1\r\n\r\n", "expected '$', got '\\r'"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$x\r\n", "invalid bulk length"),
        ("*1\r\n$16777216\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (
            "*1\r\n$4\r\nPINGPONG\r\n",
            "expected a line's end after a bulk string",
        ),
        ("ECHO \"a\r\n", "unbalanced quotes in request"),
        ("ECHO 'a'b\r\n", "unbalanced quotes in request"),
        (&line, "too big inline request"),
        (&format!("*{line}"), "too big inline request"),
    ] {
        let mut client = Client::connect(&server.address);
        client.send(format!("PING\r\n{sent}"));
        assert_eq!(client.reply(), "PONG");
        let expected = format!("(error) ERR Protocol error: {expected}");
        assert_eq!(client.reply(), expected, "{sent:.40}");
        assert!(client.is_closed());
    }
    still_answers(&server);
}

fn a_disconnect_inside_a_command_is_not_logged_as_an_error(options: &[&str]) {
    let server = start(options);
    for part in [
        "PIN",
        "*",
        "*2\r\n$4\r\nECHO\r\n",
        "*1\r\n$4\r\nPI",
        "*1\r\n$4\r\nPING",
    ] {
        let mut client = Client::connect(&server.address);
        client.send(part);
        client
            .stream()
            .shutdown(Shutdown::Write)
            .expect("the socket is connected");
        assert!(client.is_closed(), "{part:?}");
    }
    still_answers(&server);
    let (_, _, log) = stopped(server);
    assert!(!log.contains("ERROR"), "{log}");
}

fn stopped(server: Example) -> (std::process::ExitStatus, String, String) {
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.finish()
}

/// Sixteen clients announce commands of the maximum size, and send nothing.
fn announced_lengths_use_no_memory(options: &[&str]) {
    let server = start(options);
    still_answers(&server);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = Client::connect(&server.address);
            client.send("PING\r\n*200000\r\n$16000000\r\nx");
            assert_eq!(client.reply(), "PONG");
            client
        })
        .collect();
    let most = peak_resident(server.pid());
    assert!(most < 64 << 10, "{most} KiB");
    drop(clients);
}

#[test]
fn a_command_has_a_maximum_size() {
    let server = start(&[]);
    let mut client = Client::connect(&server.address);
    let large = vec![b'x'; (16 << 20) - 1000];
    assert_eq!(client.call(&[b"SET", &b"large"[..], &large]), "OK");
    // The size of a word is larger than its bytes.
    let words = vec!["x"; 200_000];
    assert_eq!(client.call(&[&["DEL"], &words[..]].concat()), "0");
    // As many words as fit, and the length of another.
    client.send(format!(
        "*{}\r\n{}$1\r\n",
        1 << 18,
        "$1\r\nx\r\n".repeat(258_111)
    ));
    assert_eq!(
        client.reply(),
        "(error) ERR Protocol error: invalid bulk length"
    );
    assert!(client.is_closed());
}

fn clients_beyond_the_limit_get_an_error(options: &[&str]) {
    let server = start(&[&["--max-clients", "2"], options].concat());
    let mut first = Client::connect(&server.address);
    let mut second = Client::connect(&server.address);
    assert_eq!(first.run("PING"), "PONG");
    assert_eq!(second.run("PING"), "PONG");
    let mut third = Client::connect(&server.address);
    assert_eq!(third.reply(), "(error) ERR max number of clients reached");
    assert!(third.is_closed());
    assert_eq!(first.run("QUIT"), "OK");
    assert!(first.is_closed());
    support::eventually("another client can connect", || {
        let mut next = Client::connect(&server.address);
        next.run_line("PING") == "PONG"
    });
}

/// Parts of commands, mixed with random bytes. The server still answers the next client.
fn random_bytes_do_not_stop_the_server(options: &[&str]) {
    let server = start(&[&["--max-memory", "1"], options].concat());
    let pieces = prop::sample::select(vec![
        &b"*"[..],
        b"$",
        b"\r\n",
        b"1",
        b"3",
        b"-1",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"GET",
        b"a ",
        b"'",
        b"\"",
        b"\\x",
        b"KEYS [",
        b"LPUSH l ",
        b"LPOP l ",
        b"LRANGE l -9 9",
        b"EXPIRE a ",
        b"INCR ",
        b"HELLO 3",
        b"COMMAND",
        b"INFO",
        b"\0",
        b"\xff",
        b"9223372036854775807",
    ]);
    let part = prop_oneof![
        pieces.prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let parts = prop::collection::vec(part, 0..40);
    let mut runner = TestRunner::new(Config {
        cases: 1000,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&parts, |parts| {
        send_and_read_to_the_end(&server, &parts.concat());
        still_answers(&server);
        Ok(())
    });
    result.expect("the server still answers");
    let (status, _, log) = stopped(server);
    assert!(status.success());
    assert!(!log.contains("panicked"), "{log}");
}

/// Sends the bytes, and reads the answer to its end.
fn send_and_read_to_the_end(server: &Example, bytes: &[u8]) {
    let mut stream = support::connect_to(&server.address);
    // Both may fail, because the server closes the connection after an invalid command.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut replies = Vec::new();
    if let Err(error) = stream.read_to_end(&mut replies) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}
