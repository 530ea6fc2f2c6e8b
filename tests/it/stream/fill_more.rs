//! `rfile.fill_more`: messages are parsed as they arrive.

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::time::Duration;

use crossbeam_channel::bounded;
use socketserver::prelude::*;
use socketserver::request::Reader;

use super::report::reporting;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::{ANY, LONG, connect, connect_unix, exchange, read_all, socket_path};

/// The text before the next `;`, or `None` if the stream ends before one.
fn message(rfile: &mut Reader) -> io::Result<Option<String>> {
    loop {
        let received = String::from_utf8_lossy(rfile.buffer());
        if let Some((message, _)) = received.split_once(';') {
            let message = message.to_owned();
            rfile.consume(message.len() + 1);
            return Ok(Some(message));
        }
        let before = rfile.buffer().len();
        let came = rfile.fill_more()?;
        assert_eq!(rfile.buffer().len(), before + came);
        if came == 0 {
            return Ok(None);
        }
    }
}

#[test]
fn messages_are_the_same_with_any_fragmentation() -> io::Result<()> {
    for bytes in [0, 1, 2, 3, 5, 8192] {
        let builder = ConcurrentTcpServer::builder().rbufsize(bytes);
        let (server, reports) = reporting(builder, |request| {
            let mut messages = Vec::new();
            while let Some(message) = message(&mut request.rfile)? {
                messages.push(message);
            }
            // The incomplete message is still in the buffer.
            let mut rest = String::new();
            request.rfile.read_to_string(&mut rest)?;
            Ok((messages, rest))
        })?;
        let mut client = connect(server.server_address());
        client.write_all(b"one;two is longer;;the rest")?;
        drop(client);
        let (messages, rest) = reports.next()?;
        let expected = ["one", "two is longer", ""];
        assert_eq!(messages, expected, "with a buffer of {bytes} bytes");
        assert_eq!(rest, "the rest");
    }
    Ok(())
}

/// Each answer is read before the next piece is sent.
fn send_in_pieces(mut client: impl Read + Write) {
    client.write_all(b"o").expect("the server reads");
    assert_eq!(exchange(&mut client, "ne;t"), "one\n");
    client.write_all(b"w").expect("the server reads");
    assert_eq!(exchange(&mut client, "o;"), "two\n");
}

fn answer(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let Some(message) = message(&mut request.rfile)? else {
            break;
        };
        writeln!(request.wfile, "{message}")?;
    }
    Ok(())
}

#[test]
fn a_message_is_answered_after_the_next_has_begun() -> io::Result<()> {
    // `wfile` is buffered, and is flushed before more data is received.
    let builder = ConcurrentTcpServer::builder().wbufsize(100);
    let server = builder.bind_fn(ANY, answer)?.serve_in_background()?;
    send_in_pieces(connect(server.server_address()));
    let (_folder, path) = socket_path();
    let builder = ConcurrentUnixStreamServer::builder().wbufsize(100);
    let server = builder.bind_fn(path, answer)?.serve_in_background()?;
    send_in_pieces(connect_unix(server.server_address()));
    Ok(())
}

#[test]
fn a_message_without_an_end_is_an_error_and_uses_no_memory() -> io::Result<()> {
    const MOST: usize = 1000;
    const SENT: usize = 4_000_000;
    for bytes in [0, 64] {
        let builder = ConcurrentTcpServer::builder()
            .max_line(MOST)
            .rbufsize(bytes);
        let (server, reports) = reporting(builder, |request| {
            let errors = [(); 2].map(|()| message(&mut request.rfile).unwrap_err());
            let held = request.rfile.buffer().len();
            let mut all = Vec::new();
            request.rfile.read_to_end(&mut all)?;
            Ok((errors, held, all.len()))
        })?;
        let mut client = connect(server.server_address());
        let address = client.local_addr()?.to_string();
        client.write_all(&vec![b'x'; SENT])?;
        drop(client);
        let (errors, held, all) = reports.next()?;
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains("1000 bytes"), "{error}");
            assert!(error.to_string().contains(&address), "{error}");
        }
        assert!(
            (MOST..3 * MOST).contains(&held),
            "{held} bytes are buffered"
        );
        assert_eq!(all, SENT);
    }
    Ok(())
}

#[test]
fn a_message_of_the_maximum_length_is_not_an_error() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().max_line(5).rbufsize(0);
    let (server, reports) = reporting(builder, |request| {
        let first = message(&mut request.rfile)?;
        let too_long = message(&mut request.rfile).unwrap_err();
        request.rfile.set_max_line(6);
        Ok((first, too_long.kind(), message(&mut request.rfile)?))
    })?;
    connect(server.server_address()).write_all(b"four;five5;")?;
    let expected = (
        Some("four".to_owned()),
        ErrorKind::InvalidData,
        Some("five5".to_owned()),
    );
    assert_eq!(reports.next()?, expected);
    Ok(())
}

#[test]
fn a_timeout_in_the_middle_of_a_message_loses_nothing() -> io::Result<()> {
    let (late, is_late) = bounded(1);
    let builder = ConcurrentTcpServer::builder().read_timeout(Duration::from_millis(20));
    let (server, reports) = reporting(builder, move |request| {
        let error = message(&mut request.rfile).unwrap_err();
        late.send(()).map_err(io::Error::other)?;
        request.set_read_timeout(Some(LONG))?;
        Ok((error.kind(), message(&mut request.rfile)?))
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"first half, ")?;
    is_late.recv_timeout(LONG).expect("the read times out");
    client.write_all(b"second half;")?;
    let whole = Some("first half, second half".to_owned());
    assert_eq!(reports.next()?, (ErrorKind::TimedOut, whole));
    Ok(())
}

#[test]
fn after_detach_the_handlers_request_is_at_its_end() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        request.rfile.fill_more()?;
        let mut taken = request.detach();
        Ok((request.rfile.fill_more()?, message(&mut taken.rfile)?))
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"hello;")?;
    client.shutdown(Shutdown::Write)?;
    assert_eq!(reports.next()?, (0, Some("hello".to_owned())));
    assert_eq!(read_all(client), "");
    Ok(())
}
