//! A graceful shutdown, and a forced one, over TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use support::concurrent::ConcurrentTcpServer;
use support::tls::{
    TlsClient, before_the_last_flight, exchange, receive_line, server_config, shake_hands,
    tls_client,
};
use support::{ANY, HOUR, LONG, connect, eventually, in_background, unacknowledged};

/// A server of lines that answers each, and waits for a graceful shutdown without limit.
fn lines() -> BackgroundServer {
    lines_with(Duration::ZERO)
}

fn lines_with(drain_delay: Duration) -> BackgroundServer {
    let builder = ConcurrentTcpServer::builder()
        .tls(server_config())
        .drain_delay(drain_delay)
        .shutdown_timeout(HOUR)
        .handshake_timeout(HOUR);
    in_background(builder.bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }))
}

fn wait_until_received(client: &TlsClient) {
    eventually("the server's system has everything", || {
        unacknowledged(&client.sock) == 0
    });
}

#[test]
fn an_idle_connection_ends_at_once() {
    let server = lines();
    let mut used = tls_client(server.server_address());
    assert_eq!(exchange(&mut used, "hello"), "hello");
    let mut fresh = tls_client(server.server_address());
    shake_hands(&mut fresh).expect("the server answers");
    let silent = connect(server.server_address());
    eventually("all are there", || server.handle().statistics().active == 3);
    eventually("the handshake is done", || {
        server.handle().statistics().tls.handshakes == 2
    });
    let report = server.handle().shutdown_within(HOUR);
    server.stop().expect("serving ends well");
    assert_eq!((report.forced, report.unfinished), (0, 0));
    // They are told so.
    assert_eq!(receive_line(&mut used), "");
    assert_eq!(receive_line(&mut fresh), "");
    drop(silent);
}

#[test]
fn what_has_arrived_is_answered() -> io::Result<()> {
    for round in 0..20 {
        let server = lines();
        let mut client = tls_client(server.server_address());
        assert_eq!(exchange(&mut client, "hello"), "hello");
        // One record with many lines, and a second one.
        let many: String = (0..1000).map(|line| format!("{line}\n")).collect();
        client.write_all(many.as_bytes())?;
        client.write_all(b"last\n")?;
        if round % 2 == 0 {
            wait_until_received(&client);
            server.handle().shutdown();
        } else {
            thread::scope(|scope| {
                scope.spawn(|| server.handle().shutdown());
            });
        }
        let mut answers = String::new();
        client.read_to_string(&mut answers)?;
        if round % 2 == 0 {
            assert_eq!(answers, many + "last\n");
        }
        server.stop()?;
    }
    Ok(())
}

/// A shutdown looks at what has arrived while more arrives.
#[test]
fn what_arrives_meanwhile_does_not_keep_a_connection_open() -> io::Result<()> {
    for _ in 0..30 {
        let server = lines();
        let report = thread::scope(|scope| {
            for _ in 0..8 {
                let mut client = tls_client(server.server_address());
                shake_hands(&mut client).expect("the server answers");
                scope.spawn(move || while is_answered(&mut client) {});
            }
            eventually("all are served", || {
                server.handle().statistics().tls.handshakes == 8
            });
            server.handle().shutdown_within(LONG)
        });
        assert_eq!((report.forced, report.unfinished), (0, 0));
        server.stop()?;
    }
    Ok(())
}

/// Whether the server answers one more line.
fn is_answered(client: &mut TlsClient) -> bool {
    let sent = client.write_all(b"line\n");
    sent.is_ok() && client.read(&mut [0; 10]).is_ok_and(|length| length > 0)
}

#[test]
fn a_message_that_has_begun_is_served_to_its_end() -> io::Result<()> {
    let server = lines();
    let mut client = tls_client(server.server_address());
    assert_eq!(exchange(&mut client, "hello"), "hello");
    // Half a record.
    client.conn.writer().write_all(b"whole message\n")?;
    let mut record = Vec::new();
    client.conn.write_tls(&mut record)?;
    let (begin, end) = record.split_at(record.len() / 2);
    client.sock.write_all(begin)?;
    wait_until_received(&client);
    server.handle().shutdown();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(server.handle().statistics().active, 1);
    client.sock.write_all(end)?;
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    assert_eq!(answers, "whole message\n");
    server.stop()?;
    Ok(())
}

#[test]
fn messages_after_the_shutdown_are_not_served() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    let (began, begins) = crossbeam_channel::bounded(1);
    let (release, released) = crossbeam_channel::bounded::<()>(1);
    let server = in_background(builder.bind_fn(ANY, move |request| {
        while let Some(line) = request.next_line()? {
            if line == "first" {
                began.send(())?;
                let released = &released;
                socketserver::task::blocking(|| released.recv())?;
            }
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    client.write_all(b"first\n")?;
    begins.recv().expect("the handler runs");
    client.write_all(b"second\n")?;
    wait_until_received(&client);
    server.handle().shutdown();
    client.write_all(b"third\n")?;
    wait_until_received(&client);
    release.send(()).expect("the handler waits");
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    assert_eq!(answers, "first\nsecond\n");
    server.stop()?;
    Ok(())
}

#[test]
fn a_client_in_its_handshake_is_served_one_message() -> io::Result<()> {
    let server = lines();
    let mut client = tls_client(server.server_address());
    let mut hello = Vec::new();
    client.conn.write_tls(&mut hello)?;
    client.sock.write_all(&hello)?;
    client.sock.peek(&mut [0])?;
    server.handle().shutdown();
    assert_eq!(exchange(&mut client, "question"), "question");
    // The next one is not.
    assert_eq!(receive_line(&mut client), "");
    server.stop()?;
    Ok(())
}

#[test]
fn a_forced_shutdown_ends_handshakes_reads_and_writes() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder()
        .tls(server_config())
        .handshake_timeout(HOUR);
    let server = in_background(builder.bind_fn(ANY, |request| {
        match request.next_line()?.as_deref() {
            Some("write") => loop {
                request.wfile.write_all(&[0; 100_000])?;
            },
            _ => request.rfile.read_exact(&mut [0; 100])?,
        }
        Ok(())
    }));
    let mut in_handshake = tls_client(server.server_address());
    let mut hello = Vec::new();
    in_handshake.conn.write_tls(&mut hello)?;
    in_handshake.sock.write_all(&hello)?;
    let mut reading = tls_client(server.server_address());
    reading.write_all(b"read\nsome")?;
    let mut writing = tls_client(server.server_address());
    writing.write_all(b"write\n")?;
    eventually("the writer waits", || {
        let before = server.handle().statistics().bytes_out;
        thread::sleep(Duration::from_millis(20));
        before > 100_000 && before == server.handle().statistics().bytes_out
    });
    let begin = Instant::now();
    let report = server.handle().shutdown_within(Duration::from_millis(100));
    assert!(begin.elapsed() < Duration::from_secs(10));
    let not_drained = report.forced + report.unfinished;
    assert_eq!((report.drained, not_drained), (0, 3), "{report:?}");
    // On a busy machine some end after the report.
    eventually("all have ended", || {
        server.handle().statistics().active == 0
    });
    let error = reading.read(&mut [0]).expect_err("it was cut off");
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
    server.stop()?;
    Ok(())
}

#[test]
fn a_message_that_comes_with_the_end_of_the_handshake_is_the_only_one() -> io::Result<()> {
    let server = lines();
    let (mut client, mut flight) = before_the_last_flight(server.server_address())?;
    server.handle().shutdown();
    client.conn.writer().write_all(b"question\n")?;
    while client.conn.wants_write() {
        client.conn.write_tls(&mut flight)?;
    }
    client.sock.write_all(&flight)?;
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    assert_eq!(answers, "question\n");
    server.stop()?;
    Ok(())
}

#[test]
fn a_client_that_asks_nothing_after_its_handshake_does_not_hold_up_a_shutdown() -> io::Result<()> {
    let server = lines();
    let (mut client, flight) = before_the_last_flight(server.server_address())?;
    let handle = server.handle();
    handle.shutdown();
    client.sock.write_all(&flight)?;
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    assert_eq!(answers, "");
    server.stop()?;
    Ok(())
}

/// The idle timer looks at a connection with half a record, long before a shutdown.
#[test]
fn a_message_during_which_the_idle_timeout_was_over_changes_nothing_later() -> io::Result<()> {
    let idle = Duration::from_millis(100);
    let builder = ConcurrentTcpServer::builder()
        .tls(server_config())
        .idle_timeout(idle);
    let server = in_background(builder.bind_fn(ANY, |request| {
        while let Some(line) = request.next_line()? {
            if line == "last" {
                socketserver::task::sleep(Duration::from_millis(20));
            }
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    assert_eq!(exchange(&mut client, "hello"), "hello");
    client.conn.writer().write_all(b"slow\n")?;
    let mut record = Vec::new();
    client.conn.write_tls(&mut record)?;
    let (begin, end) = record.split_at(10);
    client.sock.write_all(begin)?;
    thread::sleep(idle * 2);
    client.sock.write_all(end)?;
    assert_eq!(receive_line(&mut client), "slow");
    let many: String = (0..1000).map(|line| format!("{line}\n")).collect();
    client.write_all(b"last\n")?;
    client.write_all(many.as_bytes())?;
    wait_until_received(&client);
    server.handle().shutdown();
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    assert_eq!(answers, format!("last\n{many}"));
    server.stop()?;
    Ok(())
}

#[test]
fn during_a_drain_delay_a_connection_ends_after_its_next_message() {
    thread::scope(|scope| {
        for messages in ["one\ntwo\nthree\n", "only\n"].repeat(10) {
            scope.spawn(move || send_in_a_drain_delay(messages).expect("the server answers"));
        }
    });
}

/// Three clients send the messages in one record each. All that has arrived with the next message is answered.
fn send_in_a_drain_delay(messages: &str) -> io::Result<()> {
    let server = lines_with(HOUR);
    let mut used = tls_client(server.server_address());
    assert_eq!(exchange(&mut used, "hello"), "hello");
    let mut fresh = tls_client(server.server_address());
    shake_hands(&mut fresh)?;
    server.handle().shutdown();
    let mut late = tls_client(server.server_address());
    for client in [&mut used, &mut fresh, &mut late] {
        client.write_all(messages.as_bytes())?;
        wait_until_received(client);
        let mut answers = String::new();
        client.read_to_string(&mut answers)?;
        assert_eq!(answers, messages);
    }
    server.stop()
}
