//! Writing through `wfile`: unbuffered and buffered, in slices, to a client that does not read, and
//! shutting down one direction.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::request::Connection;

use super::report::reporting;

use support::concurrent::ConcurrentTcpServer;
use support::{LONG, connect, read_all};

#[test]
fn unbuffered_writes_are_sent_at_once() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        // There is no flush.
        request.wfile.write_all(b"password? ")?;
        request.rfile.readline(100)
    })?;
    let mut client = connect(server.server_address());
    let mut prompt = [0; 10];
    client.read_exact(&mut prompt)?;
    assert_eq!(&prompt, b"password? ");
    client.write_all(b"swordfish\n")?;
    assert_eq!(reports.next()?, b"swordfish\n");
    Ok(())
}

#[test]
fn buffered_writes_are_sent_after_finish() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let (server, reports) = reporting(builder, |request| {
        request.wfile.write_all(b"buf")?;
        request.wfile.write_all(b"fered")?;
        // `send_all` bypasses the buffer, so these bytes arrive before the buffered ones.
        request.connection()?.send_all(b"at once, ")
    })?;
    let client = connect(server.server_address());
    assert_eq!(read_all(client), "at once, buffered");
    reports.next()
}

#[test]
fn flush_sends_the_buffer() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let (server, reports) = reporting(builder, |request| {
        request.wfile.write_all(b"flushed, ")?;
        request.wfile.flush()?;
        request.wfile.write_all(b"buffered")?;
        request.connection()?.send_all(b"at once, ")
    })?;
    let client = connect(server.server_address());
    assert_eq!(read_all(client), "flushed, at once, buffered");
    reports.next()
}

#[test]
fn writes_of_all_lengths_keep_their_order_in_a_buffer() -> io::Result<()> {
    let mut expected = String::new();
    for length in (0..30).chain([1000, 3, 8, 0, 9]) {
        expected.push_str(&format!("[{}]", "x".repeat(length)));
    }
    for bytes in [0, 1, 7, 8, 9, 8192] {
        let pieces: Vec<_> = expected.split_inclusive(']').map(str::to_owned).collect();
        let builder = ConcurrentTcpServer::builder().wbufsize(bytes);
        let (server, reports) = reporting(builder, move |request| {
            for (number, piece) in pieces.iter().enumerate() {
                let mut rest = piece.as_bytes();
                while number % 2 == 0 && !rest.is_empty() {
                    let written = request.wfile.write(rest)?;
                    rest = &rest[written..];
                }
                request.wfile.write_all(rest)?;
            }
            Ok(())
        })?;
        let received = read_all(connect(server.server_address()));
        assert_eq!(received, expected, "with a buffer of {bytes} bytes");
        reports.next()?;
    }
    Ok(())
}

#[test]
fn several_slices_are_sent_in_one_write() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        let slices = [b"head, ".as_slice(), b"", b"body"].map(IoSlice::new);
        request.wfile.write_vectored(&slices)
    })?;
    assert_eq!(read_all(connect(server.server_address())), "head, body");
    assert_eq!(reports.next()?, 10);
    Ok(())
}

#[test]
fn several_slices_are_buffered_in_order() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().wbufsize(8);
    let (server, reports) = reporting(builder, |request| {
        let mut slices = [b"".as_slice(), b"head, ", b"", b"the body", b"."].map(IoSlice::new);
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let written = request.wfile.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    })?;
    let received = read_all(connect(server.server_address()));
    assert_eq!(received, "head, the body.");
    reports.next()
}

/// A value that sends bytes itself while it is formatted.
struct SendsWhileFormatted(Connection);

impl fmt::Display for SendsWhileFormatted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.send_all(b"in between, ").map_err(|_| fmt::Error)?;
        f.write_str("one")
    }
}

#[test]
fn formatted_text_is_sent_as_one_message() -> io::Result<()> {
    for bytes in [0, 100] {
        let builder = ConcurrentTcpServer::builder().wbufsize(bytes);
        let (server, reports) = reporting(builder, |request| {
            let value = SendsWhileFormatted(request.connection()?);
            write!(request.wfile, "{value} message, ")?;
            request.wfile.flush()?;
            write!(request.wfile, "a literal, ")?;
            write!(request.wfile, "{:>3}.", 2)
        })?;
        let received = read_all(connect(server.server_address()));
        assert_eq!(received, "in between, one message, a literal,   2.");
        reports.next()?;
    }
    Ok(())
}

struct FailsToFormat;

impl fmt::Display for FailsToFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the first half, ")?;
        Err(fmt::Error)
    }
}

#[test]
fn nothing_is_sent_if_formatting_fails() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        let error = write!(request.wfile, "{FailsToFormat}").unwrap_err();
        let next = "the next";
        write!(request.wfile, "{next}")?;
        Ok(error.kind())
    })?;
    assert_eq!(read_all(connect(server.server_address())), "the next");
    assert_eq!(reports.next()?, ErrorKind::Other);
    Ok(())
}

#[test]
fn a_long_formatted_text_is_sent_completely() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        for length in [10, 1_000_000, 10] {
            write!(request.wfile, "{}", "x".repeat(length))?;
        }
        Ok(())
    })?;
    let received = read_all(connect(server.server_address()));
    assert!(received == "x".repeat(1_000_020));
    reports.next()
}

#[test]
fn a_client_that_does_not_read_causes_the_write_timeout() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().write_timeout(Duration::from_millis(50));
    let (server, reports) = reporting(builder, |request| {
        SockRef::from(&*request).set_send_buffer_size(16_384)?;
        let mut sent = 0;
        loop {
            match request.wfile.write(&[b'x'; 65_536]) {
                Ok(n) => sent += n,
                Err(error) => return Ok((sent, error)),
            }
        }
    })?;
    let client = connect(server.server_address());
    let address = client.local_addr()?.to_string();
    let (sent, error) = reports.next()?;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&address), "{error}");
    // The bytes that were reported as written arrive.
    assert_eq!(read_all(client).len(), sent);
    Ok(())
}

#[test]
fn a_single_long_write_has_the_write_timeout() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        SockRef::from(&*request).set_send_buffer_size(16_384)?;
        request.set_write_timeout(Some(Duration::from_millis(50)))?;
        // A size that is larger than the maximum of the client's receive buffer.
        let error = request.wfile.write_all(&vec![b'x'; 100_000_000]);
        Ok(error.unwrap_err().kind())
    })?;
    let client = connect(server.server_address());
    SockRef::from(&client).set_recv_buffer_size(65_536)?;
    assert_eq!(reports.next()?, ErrorKind::TimedOut);
    Ok(())
}

#[test]
fn after_shutdown_of_writes_the_client_can_still_send() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder()
        .wbufsize(100)
        .read_timeout(LONG);
    let (server, reports) = reporting(builder, |request| {
        request.wfile.write_all(b"the server has ended")?;
        request.wfile.shutdown()?;
        let mut answer = String::new();
        request.rfile.read_to_string(&mut answer)?;
        let error = request.wfile.write_all(&[b'x'; 1000]).unwrap_err();
        Ok((answer, error.kind()))
    })?;
    let mut client = connect(server.server_address());
    assert_eq!(read_all(&client), "the server has ended");
    client.write_all(b"the client still sends")?;
    drop(client);
    let expected = ("the client still sends".to_owned(), ErrorKind::BrokenPipe);
    assert_eq!(reports.next()?, expected);
    Ok(())
}

/// Writes to the buffer, and then fails in this place.
struct FailsIn(&'static str);

impl FailsIn {
    fn run(&self, place: &str, request: &mut StreamRequest) -> HandlerResult {
        write!(request.wfile, "{place}, ")?;
        match self.0.split_once(" in ") {
            Some(("panic", at)) if at == place => panic!("requested by the test"),
            Some((_, at)) if at == place => Err("requested by the test".into()),
            _ => Ok(()),
        }
    }
}

impl RequestHandler for FailsIn {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.run("setup", request)
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.run("handle", request)
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.run("finish", request)
    }
}

/// Hooks that tell the client.
struct Sorry;

impl Hooks for Sorry {
    fn handle_error(&self, request: &mut StreamRequest, _: &RequestError) {
        request.wfile.write_all(b"sorry, ").expect("it is buffered");
    }
}

#[test]
fn what_is_buffered_is_sent_after_an_error_or_a_panic() -> io::Result<()> {
    for (place, expected) in [
        ("error in setup", "setup, sorry, "),
        ("panic in setup", "setup, sorry, "),
        ("error in handle", "setup, handle, sorry, finish, "),
        ("panic in handle", "setup, handle, sorry, finish, "),
        ("error in finish", "setup, handle, finish, sorry, "),
        ("panic in finish", "setup, handle, finish, sorry, "),
    ] {
        let builder = ConcurrentTcpServer::builder().wbufsize(100).hooks(Sorry);
        let server = builder.bind("127.0.0.1:0", move || FailsIn(place))?;
        let server = server.serve_in_background()?;
        assert_eq!(
            read_all(connect(server.server_address())),
            expected,
            "{place}"
        );
    }
    Ok(())
}
