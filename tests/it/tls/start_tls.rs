//! TLS that begins in the middle of a plain conversation.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use log::Level;
use socketserver::prelude::*;
use support::concurrent::ConcurrentTcpServer;
use support::counts::settled;
use support::logs::Logs;
use support::tls::{exchange, receive_line, server_config, shake_hands, tls_client};
use support::{ANY, HOUR, LONG, connect, eventually, in_background};

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

/// A client that was told to go ahead.
fn told_to_go_ahead(server: &BackgroundServer) -> io::Result<TcpStream> {
    let mut client = connect(server.server_address());
    client.write_all(b"STARTTLS\n")?;
    let mut answer = [0; 9];
    client.read_exact(&mut answer)?;
    Ok(client)
}

#[test]
fn a_client_that_does_not_begin_does_not_hold_up_a_shutdown() -> io::Result<()> {
    let (server, errors) = server();
    let client = told_to_go_ahead(&server)?;
    let report = server.handle().shutdown_within(HOUR);
    server.stop()?;
    assert_eq!((report.forced, report.unfinished), (0, 0));
    let error = errors.recv_timeout(LONG).expect("the handshake ends");
    assert!(error.to_string().contains("shutting down"), "{error}");
    drop(client);
    Ok(())
}

#[test]
fn a_handshake_that_fails_is_no_error_in_the_log() -> io::Result<()> {
    let logs = Logs::from_here();
    let tls = server_config();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.next_line()?;
        request.wfile.write_all(b"go ahead\n")?;
        Ok(request.start_tls(&tls)?)
    });
    let server = in_background(server);
    let mut client = told_to_go_ahead(&server)?;
    let name = format!("from {}: ", client.local_addr()?);
    client.write_all(b"RSET\r\n")?;
    settled(&server.handle(), 1);
    let lines = logs.with(&name);
    assert!(
        lines.iter().all(|(level, _)| *level > Level::Warn),
        "{lines:?}"
    );
    let text = "the client does not speak TLS: it has sent \"RSET\"";
    let told: Vec<_> = lines
        .iter()
        .filter(|(_, line)| line.contains(text))
        .collect();
    assert_eq!(told.len(), 2, "{lines:?}");
    Ok(())
}

/// A message of another thread, between the answer to STARTTLS and the handshake.
#[test]
fn nothing_is_sent_in_plain_text_once_tls_has_begun() -> io::Result<()> {
    let (connected, connections) = bounded(1);
    let tls = server_config();
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, move |request| {
        request.next_line()?;
        request.wfile.write_all(b"go ahead\n")?;
        connected.send(request.connection()?)?;
        request.start_tls(&tls)?;
        request.wfile.write_all(b"encrypted\n")?;
        request.next_line()?;
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    client.sock.write_all(b"STARTTLS\n")?;
    client.sock.read_exact(&mut [0; 9])?;
    let connection = connections.recv_timeout(LONG).expect("the handler runs");
    // The handler waits for the client.
    eventually("the handler waits", || {
        connection
            .set_write_timeout(Some(Duration::from_millis(1)))
            .is_ok()
            && connection.send_all(b"news\n").is_err()
    });
    connection.set_write_timeout(None)?;
    let outbox = connection.outbox(10_000);
    outbox.push(*b"queued\n")?;
    let too_long = outbox.push(vec![0; 20_000]).expect_err("the limit applies");
    assert_eq!(too_long.kind(), io::ErrorKind::QuotaExceeded);
    thread::scope(|scope| {
        let sender = scope.spawn(|| connection.send_all(b"broadcast\n"));
        shake_hands(&mut client)?;
        let mut lines: Vec<_> = (0..3).map(|_| receive_line(&mut client)).collect();
        lines.sort();
        assert_eq!(lines, ["broadcast", "encrypted", "queued"]);
        sender.join().expect("it does not panic")
    })
}
