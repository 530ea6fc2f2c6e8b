//! The example `mail_server`: what a shutdown does to its clients.

use std::io::{Read, Write};

use nix::sys::signal::Signal;

use crate::server::{Client, Server};

support::for_threads_and_green! {
    a_message_is_received_and_idle_clients_read_why
    the_same_over_tls
}

fn a_message_is_received_and_idle_clients_read_why(options: &[&str]) {
    let server = Server::start(options);
    let clients = [server.connect(), server.connect(), server.connect()];
    ends(server, clients);
}

fn the_same_over_tls(options: &[&str]) {
    let server = Server::start_with_certificate(options);
    let connect = || server.connect_and_start_tls();
    let clients = [connect(), connect(), connect()];
    ends(server, clients);
}

fn ends<S: Read + Write>(server: Server, clients: [Client<S>; 3]) {
    let [mut sending, mut beginning, mut idle] = clients;
    sending.begin_message();
    sending.send("Subject: x\r\n\r\nfirst half, ");
    beginning.begin_message();
    assert_eq!(idle.run("NOOP"), "250 OK");
    server.example.signal(Signal::SIGTERM);
    assert_eq!(idle.reply(), "421 the server shuts down");
    assert!(idle.is_closed());
    for (client, rest) in [(sending, "second half"), (beginning, "all")] {
        let mut client = client;
        assert_eq!(&client.run(&format!("{rest}\r\n."))[..3], "250");
        assert_eq!(client.reply(), "421 the server shuts down");
        assert!(client.is_closed());
    }
    let messages = server.messages();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].ends_with("\n\nfirst half, second half\n"));
    let (status, output, log) = server.example.finish();
    assert!(status.success(), "{log}");
    assert_eq!(output, "");
    assert!(!log.contains("ERROR"), "{log}");
}
