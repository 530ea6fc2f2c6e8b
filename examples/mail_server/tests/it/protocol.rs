//! The example `mail_server`: commands, replies and limits.

use nix::sys::signal::Signal;

use crate::server::Server;

support::for_threads_and_green! {
    commands_are_answered_in_their_order
    a_message_is_kept_with_its_envelope
}

fn commands_are_answered_in_their_order(options: &[&str]) {
    let server = Server::start(options);
    let mut client = server.connect();
    for (command, reply) in [
        ("MAIL FROM:<a@b>", "503 say EHLO first"),
        (
            "EHLO",
            "501 it needs your domain, or your address in brackets",
        ),
        (
            "EHLO (comment)",
            "501 it needs your domain, or your address in brackets",
        ),
        ("HELO client", "250 localhost"),
        (
            "ehlo [127.0.0.1]",
            "250-localhost / 250-SIZE 10485760 / 250-PIPELINING / 250-8BITMIME / 250 HELP",
        ),
        ("STARTTLS", "502 there is no TLS"),
        ("RCPT TO:<c@d>", "503 say MAIL first"),
        ("DATA", "503 say MAIL and RCPT first"),
        ("MAIL a@b", "501 after FROM: it needs <NAME@DOMAIN>"),
        ("MAIL FROM:a@b", "501 after FROM: it needs <NAME@DOMAIN>"),
        ("MAIL FROM:<a>", "501 after FROM: it needs <NAME@DOMAIN>"),
        (
            "MAIL FROM:<a b@c>",
            "501 after FROM: it needs <NAME@DOMAIN>",
        ),
        ("MAIL FROM:<a@b> SIZE=x", "501 SIZE needs a number of bytes"),
        (
            "MAIL FROM:<a@b> BODY=BINARYMIME",
            "501 BODY is 7BIT or 8BITMIME",
        ),
        ("MAIL FROM:<a@b> SMTPUTF8", "555 there is no such parameter"),
        (
            "MAIL FROM:<a@b> SIZE=10485761",
            "552 the message is too large",
        ),
        ("Mail From:<a@b> SIZE=10485760 body=8bitmime", "250 OK"),
        ("MAIL FROM:<a@b>", "503 there is a sender already"),
        ("DATA", "503 say MAIL and RCPT first"),
        ("RCPT TO:<>", "501 a recipient is not empty"),
        (
            "RCPT TO:<c@d> NOTIFY=NEVER",
            "555 a recipient has no parameters",
        ),
        ("RCPT TO:<@relay,@other:\"c >\\\"\"@[IPv6:::1]>", "250 OK"),
        ("RCPT TO:<Postmaster>", "250 OK"),
        ("RSET", "250 OK"),
        ("RCPT TO:<c@d>", "503 say MAIL first"),
        ("MAIL FROM:<>", "250 OK"),
        ("NOOP anything", "250 OK"),
        ("VRFY root", "252 unknown; send it a message"),
        ("EXPN list", "502 it is not implemented"),
        ("RSET now", "501 it has no argument"),
        ("GET / HTTP/1.1", "500 there is no such command"),
        ("", "500 there is no such command"),
        ("NOOP \u{fc}", "500 a command is printable ASCII"),
        ("NOOP a\rb", "500 a command is printable ASCII"),
        ("NOOP a\nNOOP b", "500 a line ends with CR and LF"),
    ] {
        assert_eq!(client.run(command), reply, "{command}");
    }
    assert_eq!(client.reply(), "250 OK", "the second of two lines");
    assert!(client.run("HELP").contains("HELO EHLO"));
    assert_eq!(client.run("QUIT"), "221 goodbye");
    assert!(client.is_closed());
    assert_eq!(server.messages().len(), 0);
}

fn a_message_is_kept_with_its_envelope(options: &[&str]) {
    let server = Server::start(options);
    let mut client = server.connect();
    let commands = [
        "EHLO client",
        "MAIL FROM:<a@b>",
        "RCPT TO:<c@d>",
        "RCPT TO:<e@f>",
        "DATA",
    ];
    assert_eq!(client.codes(&commands), ["250", "250", "250", "250", "354"]);
    let reply = client.run("Subject: x\r\n\r\n..dot\r\n..\r\n.. \r\n.");
    let id = reply.strip_prefix("250 OK ").expect("it is kept");
    let [message] = &server.messages()[..] else {
        panic!("one message");
    };
    let (header, text) = message.split_once("\tid ").expect("a Received header");
    assert_eq!(
        header,
        "Return-Path: <a@b>\nDelivered-To: c@d\nDelivered-To: e@f\n\
         Received: from client ([127.0.0.1])\n\tby localhost with ESMTP\n"
    );
    let (trace, text) = text.split_once('\n').expect("the message follows");
    assert!(
        trace.starts_with(id) && trace.ends_with(" +0000"),
        "{trace}"
    );
    assert_eq!(text, "Subject: x\n\n.dot\n.\n. \n");
    assert!(server.folder.path().join(format!("{id}.eml")).exists());
    // The next message has an envelope of its own.
    assert_eq!(client.run("DATA"), "503 say MAIL and RCPT first");
}

#[test]
fn a_message_without_its_end_is_not_kept() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.begin_message();
    client.send("Subject: x\r\n\r\nthe beginning\r\n.");
    drop(client);
    server.example.signal(Signal::SIGTERM);
    let (status, _, log) = server.example.finish();
    assert!(status.success() && !log.contains("ERROR"), "{log}");
    assert_eq!(support::entries(server.folder.path()), 0);
}

#[test]
fn limits() {
    let server = Server::start(&["--max-size", "100"]);
    let mut client = server.connect();
    assert_eq!(client.run(&format!("NOOP {}", "x".repeat(1017))), "250 OK");
    assert_eq!(
        client.run(&format!("NOOP {}", "x".repeat(9999))),
        "500 the line is too long"
    );
    client.begin_message();
    assert_eq!(&client.run(&format!("{}\r\n.", "x".repeat(98)))[..3], "250");
    client.begin_message();
    assert_eq!(
        client.run(&format!("{}\r\n.", "x".repeat(99))),
        "552 the message is too large"
    );
    assert_eq!(&client.codes(&["MAIL FROM:<a@b>"]), &["250"]);
    let recipients = ["RCPT TO:<c@d>"; 101];
    let codes = client.codes(&recipients);
    assert!(
        codes[..100].iter().all(|code| code == "250") && codes[100] == "452",
        "{codes:?}"
    );
    for _ in 0..18 {
        assert_eq!(&client.run("what?")[..3], "500");
    }
    assert_eq!(client.codes(&["what?", "NOOP"]), ["500", "421"]);
    assert!(client.is_closed());
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn only_mail_to_own_domains_is_accepted() {
    let server = Server::start(&["--domain", "a.example", "--domain", "b.example"]);
    let mut client = server.connect();
    assert_eq!(client.codes(&["EHLO c", "MAIL FROM:<a@b>"]), ["250", "250"]);
    for (recipient, code) in [
        ("x@A.example", "250"),
        ("x@b.example", "250"),
        ("x@c.example", "550"),
        ("x@sub.a.example", "550"),
        ("x%c.example@a.example", "250"),
        ("@a.example:x@c.example", "550"),
        ("\"x@a.example\"@c.example", "550"),
        ("postmaster", "250"),
    ] {
        assert_eq!(
            client.codes(&[&format!("RCPT TO:<{recipient}>")]),
            [code],
            "{recipient}"
        );
    }
}

#[test]
fn a_client_too_many_reads_why() {
    let server = Server::start(&["--per-ip", "1"]);
    let first = server.connect();
    let mut second = server.connect_unread();
    assert_eq!(second.reply(), "421 too many connections: try again later");
    assert!(second.is_closed());
    drop(first);
}
