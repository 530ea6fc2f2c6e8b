//! The example `mail_server`: STARTTLS, and TLS from the beginning.

use std::io::Read;

use support::tls::shake_hands;

use crate::server::Server;

support::for_threads_and_green! {
    nothing_may_follow_starttls
    the_client_says_all_again_after_starttls
}

/// CVE-2011-0411: what an attacker adds to the plain text would be run as if it had been encrypted.
fn nothing_may_follow_starttls(options: &[&str]) {
    let server = Server::start_with_certificate(options);
    let mut client = server.connect();
    client.send("EHLO c\r\nSTARTTLS\r\nRSET\r\n");
    assert!(client.reply().contains(" / 250-STARTTLS / "));
    assert_eq!(
        client.reply(),
        "501 nothing follows STARTTLS before its reply"
    );
    assert!(client.is_closed());
    // After the reply too: it is no handshake.
    let mut client = server.connect();
    assert_eq!(client.run("STARTTLS"), "220 begin TLS");
    client.send("RSET\r\n");
    let mut rest = Vec::new();
    let _ = client.0.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("250"), "{rest:?}");
}

fn the_client_says_all_again_after_starttls(options: &[&str]) {
    let server = Server::start_with_certificate(&[&["--require-tls"], options].concat());
    let mut client = server.connect();
    for command in ["HELO c", "MAIL FROM:<a@b>", "DATA", "VRFY x"] {
        assert_eq!(
            client.run(command),
            "530 begin TLS first: STARTTLS",
            "{command}"
        );
    }
    assert_eq!(client.codes(&["NOOP", "EHLO c"]), ["250", "250"]);
    let mut client = server.connect_and_start_tls();
    assert_eq!(client.run("MAIL FROM:<a@b>"), "503 say EHLO first");
    assert!(!client.run("EHLO c").contains("STARTTLS"));
    assert_eq!(client.run("STARTTLS"), "503 TLS has begun already");
    client.begin_message();
    assert_eq!(&client.run("hello\r\n.")[..3], "250");
    let [message] = &server.messages()[..] else {
        panic!("one message");
    };
    assert!(message.contains(" with ESMTPS (TLSv1.3, TLS_"), "{message}");
}

/// A client that has begun before TLS begins again: its sender is forgotten.
#[test]
fn starttls_forgets_the_envelope() {
    let server = Server::start_with_certificate(&[]);
    let mut tls = server.connect_with_tls();
    let socket = tls.0.get_ref().sock.try_clone();
    let mut plain = crate::server::Client(std::io::BufReader::new(socket.expect("a descriptor")));
    assert_eq!(plain.reply(), "220 localhost ESMTP");
    plain.codes(&["EHLO c", "MAIL FROM:<admin@b>", "RCPT TO:<c@d>"]);
    assert_eq!(plain.run("STARTTLS"), "220 begin TLS");
    shake_hands(tls.0.get_mut()).expect("the handshake succeeds");
    assert_eq!(tls.run("DATA"), "503 say MAIL and RCPT first");
}
