//! What a handler can do with its connection, over TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use socketserver::prelude::*;
use socketserver::request::Connection;
use socketserver::task;
use support::concurrent::ConcurrentTcpServer;
use support::tls::{
    TlsClient, close_notify, exchange, receive_line, server_config, shake_hands, tls_client,
};
use support::{ANY, LONG, connect, eventually, in_background};

fn serve(
    handle: impl Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
) -> BackgroundServer {
    let builder = ConcurrentTcpServer::builder().tls(server_config());
    in_background(builder.bind_fn(ANY, handle))
}

/// Bytes that differ from their neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ at >> 8) as u8).collect()
}

#[test]
fn megabytes_arrive_in_both_directions() -> io::Result<()> {
    const LENGTH: usize = 8 << 20;
    let server = serve(|request| {
        let mut data = vec![0; LENGTH];
        request.rfile.read_exact(&mut data)?;
        request.wfile.write_all(&data)?;
        let (first, second) = data.split_at(LENGTH / 3);
        let slices = [io::IoSlice::new(first), io::IoSlice::new(second)];
        assert_eq!(request.wfile.write_vectored(&slices)?, LENGTH);
        let mut file = tempfile::tempfile()?;
        file.write_all(&data)?;
        assert_eq!(request.wfile.send_file(&file, ..)?, LENGTH as u64);
        Ok(())
    });
    let mut client = tls_client(server.server_address());
    let data = pattern(LENGTH);
    client.write_all(&data)?;
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed)?;
    assert!(echoed == data.repeat(3));
    eventually("the request has ended", || {
        server.handle().statistics().finished == 1
    });
    let statistics = server.handle().statistics();
    assert_eq!(statistics.bytes_in, LENGTH as u64);
    assert_eq!(statistics.bytes_out, 3 * LENGTH as u64);
    // A record of 16 KiB is about 22 bytes longer.
    let tls = statistics.tls;
    let expected = LENGTH as u64..LENGTH as u64 + (LENGTH / 500) as u64;
    assert!(expected.contains(&tls.bytes_in), "{tls:?}");
    Ok(())
}

#[test]
fn lines_that_come_together_are_served_without_a_wait() -> io::Result<()> {
    let server = serve(|request| {
        while request.wait_for_data()? {
            let mut byte = [0; 3];
            request.rfile.read_exact(&mut byte)?;
            request.wfile.write_all(&byte)?;
        }
        Ok(())
    });
    let mut client = tls_client(server.server_address());
    let data = pattern(3 * 20_000);
    client.write_all(&data)?;
    let mut echoed = vec![0; data.len()];
    client.read_exact(&mut echoed)?;
    assert_eq!(echoed, data);
    Ok(())
}

#[test]
fn a_reader_that_waits_does_not_hold_up_a_writer() -> io::Result<()> {
    let (connected, connections) = bounded::<Connection>(100);
    let server = serve(move |request| {
        connected.send(request.connection()?)?;
        while request.next_line()?.is_some() {}
        Ok(())
    });
    let mut clients: Vec<_> = (0..20)
        .map(|_| tls_client(server.server_address()))
        .collect();
    for client in &mut clients {
        shake_hands(client)?;
    }
    let connections: Vec<_> = connections.iter().take(clients.len()).collect();
    for round in 0..10 {
        for connection in &connections {
            connection.send_all(format!("news {round}\n").as_bytes())?;
        }
    }
    for client in &mut clients {
        for round in 0..10 {
            assert_eq!(receive_line(client), format!("news {round}"));
        }
    }
    Ok(())
}

#[test]
fn an_outbox_sends_when_the_client_reads_again() -> io::Result<()> {
    const MESSAGES: usize = 300;
    let server = serve(|request| {
        let outbox = request.connection()?.outbox(16 << 20);
        for message in 0..MESSAGES {
            outbox.push(vec![message as u8; 10_000])?;
        }
        request.wfile.write_all(b"end")?;
        request.next_line()?;
        Ok(())
    });
    let mut client = tls_client(server.server_address());
    shake_hands(&mut client)?;
    eventually("the socket is full", || {
        let before = server.handle().statistics().tls.bytes_out;
        thread::sleep(Duration::from_millis(20));
        before > 0 && before == server.handle().statistics().tls.bytes_out
    });
    let mut received = vec![0; MESSAGES * 10_000 + 3];
    client.read_exact(&mut received)?;
    for (at, message) in received.chunks(10_000).take(MESSAGES).enumerate() {
        assert!(message.iter().all(|byte| *byte == at as u8), "message {at}");
    }
    assert_eq!(received[MESSAGES * 10_000..], *b"end");
    Ok(())
}

#[test]
fn a_message_that_times_out_in_the_middle_is_never_continued() -> io::Result<()> {
    let (told, errors) = bounded(10);
    let builder = ConcurrentTcpServer::builder()
        .tls(server_config())
        .write_timeout(Duration::from_millis(200));
    let server = in_background(builder.bind_fn(ANY, move |request| {
        let first = request.wfile.write_all(&pattern(16 << 20)).unwrap_err();
        let second = request.wfile.write_all(b"more").unwrap_err();
        told.send((first.kind(), second.kind()))?;
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    shake_hands(&mut client)?;
    let errors = errors.recv_timeout(LONG).expect("the write fails");
    assert_eq!(errors, (ErrorKind::TimedOut, ErrorKind::BrokenPipe));
    // The client sees that it is not complete.
    let error = io::copy(&mut client, &mut io::sink()).expect_err("it is cut off");
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
    Ok(())
}

#[test]
fn both_directions_run_at_once() -> io::Result<()> {
    let server = serve(|request| {
        let (mut rfile, wfile) = request.split();
        let (received, sent) = task::join(
            move || io::copy(&mut rfile, &mut io::sink()),
            || {
                let sent = wfile.write_all(&pattern(4 << 20));
                sent.and_then(|()| wfile.shutdown())
            },
        )?;
        sent?;
        assert_eq!(received?, 4 << 20);
        Ok(())
    });
    let mut client = tls_client(server.server_address());
    let data = pattern(4 << 20);
    // In turns: one thread of the client reads and writes.
    let mut received = Vec::new();
    let mut piece = vec![0; 64 << 10];
    for sent in data.chunks(64 << 10) {
        client.write_all(sent)?;
        let n = client.read(&mut piece)?;
        received.extend(&piece[..n]);
    }
    close_notify(&mut client)?;
    client.read_to_end(&mut received)?;
    assert!(received == data);
    eventually("the request has ended", || {
        server.handle().statistics().finished == 1
    });
    Ok(())
}

#[test]
fn time_limits_are_the_same() -> io::Result<()> {
    let timeout = Duration::from_millis(200);
    let builder = ConcurrentTcpServer::builder()
        .tls(server_config())
        .idle_timeout(timeout)
        .read_timeout(timeout);
    let server = in_background(builder.bind_fn(ANY, |request| {
        while request.wait_for_data()? {
            let mut message = [0; 4];
            request.rfile.read_exact(&mut message)?;
            request.wfile.write_all(&message)?;
        }
        request.wfile.write_all(b"idle")?;
        Ok(())
    }));
    let mut client = tls_client(server.server_address());
    client.write_all(b"1234")?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    assert_eq!(answer, b"1234idle");
    // In the middle of a message the read timeout applies.
    let mut client = tls_client(server.server_address());
    let begin = Instant::now();
    client.write_all(b"12")?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    assert!(answer.is_empty() && begin.elapsed() >= timeout);
    eventually("it is counted", || {
        let statistics = server.handle().statistics();
        (statistics.finished, statistics.timed_out) == (1, 1)
    });
    Ok(())
}

#[test]
fn a_detached_connection_stays_encrypted() -> io::Result<()> {
    let (detached, requests) = bounded(1);
    let server = serve(move |request| {
        request.wfile.write_all(b"hello\n")?;
        detached
            .send(request.detach())
            .map_err(|_| "the test has ended")?;
        Ok(())
    });
    let mut client = tls_client(server.server_address());
    assert_eq!(receive_line(&mut client), "hello");
    let mut request = requests.recv_timeout(LONG).expect("it is detached");
    server.stop()?;
    client.write_all(b"question\n")?;
    assert_eq!(request.next_line()?.as_deref(), Some("question"));
    request.wfile.write_all(b"answer\n")?;
    assert_eq!(receive_line(&mut client), "answer");
    let error = request.into_parts().expect_err("the socket is encrypted");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    Ok(())
}

#[test]
fn random_bytes_end_only_their_own_connection() -> io::Result<()> {
    let server = serve(|request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    });
    let address = server.server_address();
    let mut hello = Vec::new();
    tls_client(address).conn.write_tls(&mut hello)?;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let mut bytes = hello.clone();
        for _ in 0..random.usize(1..20) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        let mut client = connect(address);
        let _ = client.write_all(&bytes);
        let _ = client.shutdown(Shutdown::Write);
        let _ = io::copy(&mut client, &mut io::sink());
    }
    let mut client = tls_client(address);
    assert_eq!(exchange(&mut client, "still there"), "still there");
    assert_eq!(server.handle().statistics().panicked, 0);
    // Random records in the middle of a session.
    let mut client: TlsClient = tls_client(address);
    shake_hands(&mut client)?;
    client.sock.write_all(&[23, 3, 3, 0, 30])?;
    client.sock.write_all(&[7; 30])?;
    let error = client.read(&mut [0]).expect_err("the server ends it");
    assert!(error.to_string().contains("alert"), "{error}");
    eventually("it is counted", || server.handle().statistics().failed > 0);
    Ok(())
}
