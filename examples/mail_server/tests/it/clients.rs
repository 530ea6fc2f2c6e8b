//! The example `mail_server` with programs that send mail.

use std::io::{BufRead, Read, Write};
use std::process::{Command, Stdio};

use support::example::{self, Example};
use support::tls::AUTHORITY;
use support::{ANY, program, python};

use crate::server::{PROGRAM, Server};

support::for_threads_and_green! {
    messages_of_python_are_kept
    messages_of_swaks_are_kept
    messages_of_curl_are_kept
    openssl_begins_tls
}

/// Runs a client with this input, and returns its output.
fn run(command: &mut Command, input: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(input.as_bytes())
        .expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn messages_of_python_are_kept(options: &[&str]) {
    let limit = &["--max-size", "10000"];
    let plain = Server::start_with_certificate(&[options, limit].concat());
    let tls = Server::start_with_certificate(&[options, limit, &["--tls"]].concat());
    for (server, way) in [(&plain, "plain"), (&plain, "starttls"), (&tls, "tls")] {
        let before = server.messages().len();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/smtp_client.py");
        let mut client = python::script(script);
        let (host, port) = server.host_and_port();
        run(client.args([host, port, way]).arg(AUTHORITY.pem()), "");
        let messages = server.messages();
        let [first, second, third] = &messages[before..] else {
            panic!("three messages");
        };
        let recipients = "Return-Path: <ada@example.com>\nDelivered-To: grace@example.com\n\
            Delivered-To: till@example.org\nDelivered-To: secret@example.net\nReceived: ";
        assert!(first.starts_with(recipients), "{first}");
        assert!(first.ends_with("\n\n.\n..\n.dots\nand ü中\n"), "{first}");
        assert!(!first.contains("Bcc"), "{first}");
        assert!(second.ends_with("+0000\nsecond\n"), "{second}");
        assert!(third.ends_with("+0000\nthird\n"), "{third}");
        assert_eq!(
            first.contains("with ESMTPS (TLSv1.3, "),
            way != "plain",
            "{first}"
        );
    }
}

fn messages_of_swaks_are_kept(options: &[&str]) {
    let server = Server::start_with_certificate(options);
    for (number, tls) in [
        &[][..],
        &["--tls", "--pipeline"],
        &["--tls", "--tls-protocol", "tlsv1_2"],
    ]
    .into_iter()
    .enumerate()
    {
        let mut swaks = program::installed("swaks", "--version");
        swaks.args([
            "--server",
            &server.example.address,
            "--timeout",
            "20s",
            "--helo",
            "client",
            "--from",
            "a@b.example",
        ]);
        swaks.args(["--to", "c@d.example,e@f.example", "--body", ".\n.dot"]);
        run(swaks.args(tls), "");
        let messages = server.messages();
        let message = &messages[number];
        assert!(message.contains("\nDelivered-To: c@d.example\nDelivered-To: e@f.example\n"));
        assert!(message.contains("\n\n.\n.dot\n"), "{message}");
        assert_eq!(
            message.contains(" with ESMTPS ("),
            !tls.is_empty(),
            "{message}"
        );
        assert_eq!(
            message.contains("(TLSv1.2, "),
            tls.contains(&"tlsv1_2"),
            "{message}"
        );
    }
}

fn messages_of_curl_are_kept(options: &[&str]) {
    let server = Server::start_with_certificate(&[options, &["--tls"]].concat());
    let mut curl = program::installed("curl", "--version");
    let url = format!("smtps://{}", server.example.address);
    curl.args([
        &url,
        "-sS",
        "--max-time",
        "20",
        "--crlf",
        "--mail-from",
        "a@b",
        "--mail-rcpt",
        "c@d",
        "-T",
        "-",
    ]);
    run(
        curl.arg("--cacert").arg(AUTHORITY.pem()),
        "Subject: x\n\n.\nhello\n",
    );
    let messages = server.messages();
    assert!(
        messages[0].ends_with("\nSubject: x\n\n.\nhello\n"),
        "{messages:?}"
    );
}

fn openssl_begins_tls(options: &[&str]) {
    let server = Server::start_with_certificate(options);
    let mut openssl = program::installed("openssl", "version");
    openssl.args([
        "s_client",
        "-starttls",
        "smtp",
        "-connect",
        &server.example.address,
    ]);
    openssl.args([
        "-quiet",
        "-verify_return_error",
        "-verify_ip",
        "127.0.0.1",
        "-CAfile",
    ]);
    // It is ended by the server: `-quiet` sends what is left of the input first.
    let mail = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n";
    let output = run(openssl.arg(AUTHORITY.pem()), mail);
    assert!(
        output.contains("354 ") && output.contains("221 goodbye"),
        "{output}"
    );
    assert!(server.messages()[0].ends_with("\nhello\n"));
}

/// As Python's `smtpd.DebuggingServer` does.
#[test]
fn without_a_folder_messages_are_printed() {
    let mut server = Example::start(PROGRAM, &[ANY]);
    let mut swaks = program::installed("swaks", "--version");
    swaks.args(["--server", &server.address, "--from", "a@b", "--to", "c@d"]);
    run(swaks.args(["--body", "it's \x1b[1m"]), "");
    let lines = server
        .stdout
        .by_ref()
        .lines()
        .map(|line| line.expect("text"));
    let end = "------------ END MESSAGE ------------";
    let lines: Vec<_> = lines.take_while(|line| line != end).collect();
    assert_eq!(lines[0], "---------- MESSAGE FOLLOWS ----------");
    assert_eq!(lines[1], "Return-Path: <a@b>");
    assert!(lines.contains(&r"it's \u{1b}[1m".to_owned()), "{lines:?}");
}

#[test]
fn a_start_that_fails_says_why() {
    for (options, reason) in [
        (&["--require-tls"][..], "--tls-cert"),
        (
            &["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"],
            "/nonexistent",
        ),
        (
            &["--folder", "/nonexistent"],
            "cannot write to /nonexistent",
        ),
    ] {
        let output = example::run(PROGRAM, &[&[ANY], options].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(reason), "{text}");
        assert_eq!(output.stdout, b"");
    }
}
