//! TLS that begins in the middle of a plain conversation.

use std::io::{self, Read, Write};

use crossbeam_channel::{Receiver, bounded};
use socketserver::prelude::*;
use support::concurrent::ConcurrentTcpServer;
use support::tls::{exchange, receive_line, server_config, shake_hands, tls_client};
use support::{ANY, LONG, connect, in_background};

/// A server of lines, which begins TLS where a line asks for it. Sends the errors of `start_tls` to the test.
fn server() -> (BackgroundServer, Receiver<io::Error>) {
    let (told, errors) = bounded(10);
    let tls = server_config();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        while let Some(line) = request.next_line()? {
            if line == "STARTTLS" {
                request.wfile.write_all(b"go ahead\n")?;
                if let Err(error) = request.start_tls(&tls) {
                    told.send(error)?;
                    return Err("no TLS".into());
                }
            } else {
                let is_encrypted = request.tls().is_some();
                writeln!(request.wfile, "{line} {is_encrypted}")?;
            }
        }
        Ok(())
    });
    (in_background(server), errors)
}

#[test]
fn a_conversation_goes_on_encrypted() -> io::Result<()> {
    let (server, errors) = server();
    let mut client = tls_client(server.server_address());
    client.sock.write_all(b"hello\n")?;
    let mut answer = [0; 12];
    client.sock.read_exact(&mut answer)?;
    assert_eq!(answer, *b"hello false\n");
    client.sock.write_all(b"STARTTLS\n")?;
    let mut answer = [0; 9];
    client.sock.read_exact(&mut answer)?;
    shake_hands(&mut client)?;
    assert_eq!(exchange(&mut client, "hello"), "hello true");
    // Not twice.
    client.write_all(b"STARTTLS\n")?;
    assert_eq!(receive_line(&mut client), "go ahead");
    let error = errors.recv_timeout(LONG).expect("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    Ok(())
}

#[test]
fn what_was_sent_before_the_handshake_is_refused() -> io::Result<()> {
    let (server, errors) = server();
    let mut client = connect(server.server_address());
    client.write_all(b"STARTTLS\ninjected command\n")?;
    let error = errors.recv_timeout(LONG).expect("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("17 bytes"), "{error}");
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    assert_eq!(answer, "go ahead\n");
    Ok(())
}
