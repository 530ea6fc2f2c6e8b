//! The end of an encrypted stream.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use crossbeam_channel::{Receiver, bounded};
use socket2::SockRef;
use socketserver::prelude::*;
use support::concurrent::ConcurrentTcpServer;
use support::tls::{
    before_the_last_flight, close_notify, receive_line, server_config, shake_hands, tls_client,
};
use support::{ANY, LONG, eventually, in_background};

/// A server that reads to the end, and tells the test how that went.
fn reading() -> (BackgroundServer, Receiver<Result<Vec<u8>, ErrorKind>>) {
    let (told, results) = bounded(10);
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, move |request| {
        let mut all = Vec::new();
        let read = request.rfile.read_to_end(&mut all);
        told.send(read.as_ref().map(|_| all).map_err(io::Error::kind))?;
        read?;
        Ok(())
    }));
    (server, results)
}

#[test]
fn a_stream_that_ends_is_told_apart_from_one_that_is_cut_off() -> io::Result<()> {
    let (server, results) = reading();
    let mut client = tls_client(server.server_address());
    client.write_all(b"all of it")?;
    close_notify(&mut client)?;
    let result = results.recv_timeout(LONG).expect("the handler ends");
    assert_eq!(result, Ok(b"all of it".to_vec()));

    let mut client = tls_client(server.server_address());
    client.write_all(b"a part")?;
    client.sock.shutdown(Shutdown::Write)?;
    let result = results.recv_timeout(LONG).expect("the handler ends");
    assert_eq!(result, Err(ErrorKind::UnexpectedEof));
    eventually("both are counted", || {
        let statistics = server.handle().statistics();
        (statistics.finished, statistics.disconnected) == (1, 1)
    });
    Ok(())
}

#[test]
fn between_two_messages_nothing_is_missing() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        request.wfile.write_all(b"bye\n")?;
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    client.write_all(b"hello\n")?;
    assert_eq!(receive_line(&mut client), "hello");
    client.sock.shutdown(Shutdown::Write)?;
    assert_eq!(receive_line(&mut client), "bye");
    assert_eq!(receive_line(&mut client), "");
    eventually("it is counted", || {
        server.handle().statistics().finished == 1
    });
    Ok(())
}

#[test]
fn the_client_is_told_that_the_stream_ends() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, |request| {
        let line = request.next_line()?;
        match line.as_deref() {
            Some("abort") => request.abort(),
            Some("half") => {
                request.wfile.write_all(b"half\n")?;
                request.wfile.shutdown()?;
                // The client can still send.
                let line = request.next_line()?.ok_or("nothing came")?;
                assert_eq!(line, "after");
            }
            _ => request.wfile.write_all(b"done")?,
        }
        Ok(())
    }));
    let ask = |question: &str| {
        let mut client = tls_client(server.server_address());
        client
            .write_all(question.as_bytes())
            .expect("the server reads");
        client
    };
    let mut answer = String::new();
    ask("question\n").read_to_string(&mut answer)?;
    assert_eq!(answer, "done");

    let mut client = ask("half\n");
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    assert_eq!(answer, "half\n");
    client.write_all(b"after\n")?;

    let error = ask("abort\n").read(&mut [0]).expect_err("it is aborted");
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
    eventually("all have ended", || {
        server.handle().statistics().active == 0
    });
    assert_eq!(server.handle().statistics().finished, 3);
    Ok(())
}

#[test]
fn a_slow_client_receives_the_end_too() -> io::Result<()> {
    const LENGTH: usize = 6 << 20;
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, |request| {
        request.wfile.write_all(&vec![b'x'; LENGTH])?;
        Ok(())
    }));
    for _ in 0..3 {
        let mut client = tls_client(server.server_address());
        shake_hands(&mut client)?;
        let mut all = Vec::new();
        client.read_to_end(&mut all)?;
        assert_eq!(all.len(), LENGTH);
    }
    Ok(())
}

/// The end comes in one packet with bytes that are not a whole message.
#[test]
fn an_end_inside_a_record_is_seen_at_once() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }));
    for _ in 0..20 {
        let mut client = tls_client(server.server_address());
        client.write_all(b"hello\n")?;
        assert_eq!(receive_line(&mut client), "hello");
        // Not sent before the end.
        SockRef::from(&client.sock).set_tcp_nodelay(false)?;
        SockRef::from(&client.sock).set_tcp_cork(true)?;
        client.sock.write_all(&[23, 3, 3, 0, 50, 1, 2, 3])?;
        client.sock.shutdown(Shutdown::Write)?;
        let mut rest = Vec::new();
        let _ = client.sock.read_to_end(&mut rest);
    }
    eventually("all have ended", || {
        let statistics = server.handle().statistics();
        (statistics.active, statistics.disconnected) == (0, 20)
    });
    Ok(())
}

#[test]
fn all_that_comes_with_the_end_of_the_handshake_is_answered() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }));
    let (mut client, mut flight) = before_the_last_flight(server.server_address())?;
    client.conn.writer().write_all(b"question\n")?;
    client.conn.send_close_notify();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut flight)?;
    }
    client.sock.write_all(&flight)?;
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    assert_eq!(answers, "question\n");
    Ok(())
}

#[test]
fn what_came_before_an_invalid_record_is_received() -> io::Result<()> {
    let (told, lines) = bounded(10);
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let server = in_background(builder.bind_fn(ANY, move |request| {
        while let Some(line) = request.next_line()? {
            told.send(line)?;
        }
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    shake_hands(&mut client)?;
    client.conn.writer().write_all(b"valid\n")?;
    let mut records = Vec::new();
    client.conn.write_tls(&mut records)?;
    records.extend([23, 3, 3, 0, 30]);
    records.extend([7; 30]);
    client.sock.write_all(&records)?;
    let line = lines.recv_timeout(LONG).expect("the line is received");
    assert_eq!(line, "valid");
    let error = client.read(&mut [0]).expect_err("the server ends it");
    assert!(error.to_string().contains("alert"), "{error}");
    eventually("it is counted", || server.handle().statistics().failed == 1);
    Ok(())
}
