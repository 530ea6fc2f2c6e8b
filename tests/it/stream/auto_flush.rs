//! Auto-flush: a buffered `wfile` is sent before `rfile` waits for the client, with exceptions.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use socketserver::Builder;
use socketserver::listener::Tcp;
use socketserver::prelude::*;

use super::report::reporting;

use support::concurrent::{Concurrent, ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::{ANY, LONG, connect, connect_unix, exchange, read_all, socket_path};

type ReadSome = fn(&mut StreamRequest) -> io::Result<usize>;

const READS: [(&str, ReadSome); 8] = [
    ("read", |request| request.rfile.read(&mut [0; 5])),
    ("a long read", |request| {
        request.rfile.read(&mut [0; 100_000])
    }),
    ("read_exact", |request| {
        request.rfile.read_exact(&mut [0; 5]).map(|()| 5)
    }),
    ("fill_buf", |request| Ok(request.rfile.fill_buf()?.len())),
    ("readline", |request| Ok(request.rfile.readline(9)?.len())),
    ("read_line", |request| {
        request.rfile.read_line(&mut String::new())
    }),
    ("skip_until", |request| request.rfile.skip_until(b'\n')),
    ("next_line", |request| {
        Ok(request.next_line()?.map_or(0, |line| line.len()))
    }),
];

fn prompt(request: &mut StreamRequest, read: ReadSome) -> HandlerResult {
    request.wfile.write_all(b"password?\n")?;
    if read(request)? > 0 {
        request.wfile.write_all(b"thanks\n")?;
    }
    Ok(())
}

fn expect_prompt(mut client: impl Read + Write, way: &str) {
    assert_eq!(exchange(&mut client, ""), "password?\n", "{way}");
    assert_eq!(exchange(&mut client, "mole\n"), "thanks\n", "{way}");
}

/// The handler prompts before it has received any data.
#[test]
fn buffered_writes_are_sent_before_a_read_waits() -> io::Result<()> {
    for (way, read) in READS {
        for bytes in [0, 1, 100] {
            let builder = ConcurrentTcpServer::builder().wbufsize(100).rbufsize(bytes);
            let server = builder.bind_fn(ANY, move |request| prompt(request, read))?;
            let server = server.serve_in_background()?;
            expect_prompt(connect(server.server_address()), way);
        }
    }
    Ok(())
}

#[test]
fn buffered_writes_are_sent_over_unix_sockets() -> io::Result<()> {
    for (way, read) in READS {
        let (_folder, path) = socket_path();
        let builder = ConcurrentUnixStreamServer::builder().wbufsize(100);
        let server = builder.bind_fn(path, move |request| prompt(request, read))?;
        let server = server.serve_in_background()?;
        expect_prompt(connect_unix(server.server_address()), way);
    }
    Ok(())
}

/// A handler that prompts twice, and does not call `wait_for_data`.
#[test]
fn each_prompt_is_sent() -> io::Result<()> {
    let (_folder, path) = socket_path();
    let builder = ConcurrentUnixStreamServer::builder().wbufsize(100);
    let server = builder.bind_fn(path, |request| {
        for number in 0..3 {
            writeln!(request.wfile, "{number}?")?;
            request.rfile.readline(9)?;
        }
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect_unix(server.server_address());
    assert_eq!(exchange(&client, ""), "0?\n");
    assert_eq!(exchange(&client, "no\n"), "1?\n");
    assert_eq!(exchange(&client, "no\n"), "2?\n");
    Ok(())
}

#[test]
fn answers_to_pipelined_requests_are_sent_together() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let (server, reports) = reporting(builder, |request| {
        let connection = request.connection()?;
        for answer in [&b"one, "[..], b"two, "] {
            assert!(request.wait_for_data()?);
            request.rfile.readline(100)?;
            request.wfile.write_all(answer)?;
            // `send_all` bypasses the buffer, so these bytes arrive first.
            connection.send_all(b"at once, ")?;
        }
        assert!(!request.wait_for_data()?);
        connection.send_all(b"at the end")
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"1\n2\n")?;
    client.shutdown(Shutdown::Write)?;
    reports.next()?;
    let expected = "at once, at once, one, two, at the end";
    assert_eq!(read_all(client), expected);
    Ok(())
}

#[test]
fn the_reading_half_does_not_flush_the_writing_half() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let (server, reports) = reporting(builder, |request| {
        let connection = request.connection()?;
        let (mut rfile, wfile) = request.split();
        wfile.write_all(b"buffered")?;
        assert_eq!(rfile.readline(100)?, b"go on\n");
        connection.send_all(b"at once, ")
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"go on\n")?;
    assert_eq!(read_all(client), "at once, buffered");
    reports.next()
}

/// The client sends everything before it reads. The reading half must not wait for the writing
/// half, which is blocked.
#[test]
fn the_reading_half_continues_while_the_client_does_not_read() -> io::Result<()> {
    const MUCH: usize = 50_000_000;
    let builder = ConcurrentTcpServer::builder().wbufsize(10_000);
    let (server, reports) = reporting(builder, |request| {
        let (mut rfile, wfile) = request.split();
        thread::scope(|scope| {
            let writing = scope.spawn(|| io::copy(&mut io::repeat(b'x').take(MUCH as u64), wfile));
            let read = io::copy(&mut rfile, &mut io::sink());
            writing.join().expect("no panic")?;
            read
        })
    })?;
    let client = connect(server.server_address());
    io::copy(&mut io::repeat(b'y').take(MUCH as u64), &mut &client)?;
    client.shutdown(Shutdown::Write)?;
    assert_eq!(read_all(client).len(), MUCH);
    assert_eq!(reports.next()?, MUCH as u64);
    Ok(())
}

#[test]
fn a_detached_request_flushes_before_its_own_read_only() -> io::Result<()> {
    let (detached, requests) = bounded(1);
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let server = builder.bind_fn(ANY, move |request| {
        request.wfile.write_all(b"password?\n")?;
        let taken = request.detach();
        // The request that remains after `detach` has nothing to send.
        assert!(!request.wait_for_data()?);
        assert_eq!(request.rfile.readline(9)?, b"");
        request.wfile.flush()?;
        taken.connection()?.send_all(b"first, your ")?;
        detached.send(taken).map_err(|_| "the test has ended")?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let mut client = connect(server.server_address());
    let mut request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    server.stop()?;
    let reading = thread::spawn(move || request.rfile.readline(9));
    assert_eq!(exchange(&client, ""), "first, your password?\n");
    client.write_all(b"mole\n")?;
    assert_eq!(reading.join().expect("no panic")?, b"mole\n");
    Ok(())
}

/// A size that is larger than the buffers of both sockets.
const MUCH: usize = 20_000_000;

/// A handler that sends a long answer to the first line, and sends the other lines back.
fn long_answer(request: &mut StreamRequest) -> HandlerResult {
    request.rfile.readline(100)?;
    request.wfile.write_all(&vec![b'x'; MUCH])?;
    while let Some(line) = request.next_line()? {
        writeln!(request.wfile, "{line}")?;
    }
    Ok(())
}

fn large_buffer() -> Builder<Tcp, Concurrent> {
    ConcurrentTcpServer::builder().wbufsize(2 * MUCH)
}

fn read_long_answer(client: &TcpStream) {
    let mut much = vec![0; MUCH];
    (&*client)
        .read_exact(&mut much)
        .expect("the answer is sent");
}

#[test]
fn a_read_reports_a_failed_flush() -> io::Result<()> {
    let timeout = Duration::from_millis(50);
    let builder = large_buffer().write_timeout(timeout);
    let (server, reports) = reporting(builder, |request| {
        request.wfile.write_all(&vec![b'x'; MUCH])?;
        let error = request.rfile.readline(100).unwrap_err();
        // The received data is not lost, and the unsent data is discarded.
        Ok((error, request.rfile.readline(100)?))
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n")?;
    let (error, line) = reports.next()?;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("could not send to"), "{error}");
    assert_eq!(line, b"hello\n");
    Ok(())
}

#[test]
fn a_slow_reader_is_not_idle() -> io::Result<()> {
    let idle = Duration::from_millis(400);
    let builder = large_buffer().idle_timeout(idle);
    let server = builder.bind_fn(ANY, long_answer)?.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n")?;
    thread::sleep(3 * idle);
    read_long_answer(&client);
    assert_eq!(exchange(&client, "still there?\n"), "still there?\n");
    Ok(())
}

#[test]
fn shutdown_waits_for_a_flush() -> io::Result<()> {
    let builder = large_buffer();
    let server = builder.bind_fn(ANY, long_answer)?.serve_in_background()?;
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n")?;
    client.read_exact(&mut [0])?;
    server.handle().shutdown();
    let mut much = vec![0; MUCH - 1];
    client.read_exact(&mut much)?;
    assert_eq!(read_all(client), "");
    server.stop()
}

#[test]
fn max_lifetime_interrupts_a_flush() -> io::Result<()> {
    // Enough to fill the buffer on a busy machine.
    let builder = large_buffer().max_lifetime(Duration::from_secs(1));
    let (server, reports) = reporting(builder, |request| {
        request.wfile.write_all(&vec![b'x'; MUCH])?;
        Ok(request.rfile.readline(100).unwrap_err())
    })?;
    let _client = connect(server.server_address());
    let error = reports.next()?;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("not done within"), "{error}");
    Ok(())
}
