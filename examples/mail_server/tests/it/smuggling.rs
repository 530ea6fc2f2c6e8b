//! The example `mail_server`: only a line of a dot, with CR and LF before and after it, ends a message.

use crate::server::Server;

support::for_threads_and_green! {
    nothing_else_ends_a_message
}

/// What other servers have taken for the end of a message: CVE-2023-51764 (Postfix), CVE-2023-51765 (Sendmail),
/// CVE-2023-51766 (Exim).
fn nothing_else_ends_a_message(options: &[&str]) {
    let server = Server::start(options);
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\r.\r\n",
        "\r\r\n.\r\r\n",
        "\n.\r",
        "\r\n\0.\r\n\n.\n",
    ] {
        let mut client = server.connect();
        client.begin_message();
        let hidden = "MAIL FROM:<admin@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhidden\r\n.";
        client.send(format!("Subject: x\r\n\r\nhello{end}{hidden}\r\n"));
        assert_eq!(client.reply(), "550 it has a CR or LF alone", "{end:?}");
        // What follows is a command again.
        assert_eq!(client.run("NOOP"), "250 OK", "{end:?}");
    }
    assert_eq!(server.messages().len(), 0);
}

/// Wherever the message is divided between two packets.
#[test]
fn a_message_may_arrive_in_any_pieces() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let message = "a\r\n..b\r\n.\r\n";
    for cut in 1..message.len() {
        client.begin_message();
        for piece in [&message[..cut], &message[cut..]] {
            client.send(piece);
        }
        assert_eq!(&client.reply()[..3], "250", "{cut}");
    }
    for message in server.messages() {
        assert!(message.ends_with("+0000\na\n.b\n"), "{message}");
    }
}
