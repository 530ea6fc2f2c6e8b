//! Lines that are too long, not UTF-8 or late, and the read-ahead of `rfile`.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use crossbeam_channel::bounded;
use socketserver::prelude::*;

use super::report::reporting;

use support::concurrent::ConcurrentTcpServer;
use support::{LONG, connect};

#[test]
fn a_line_without_an_end_is_an_error_and_uses_no_memory() -> io::Result<()> {
    const MOST: usize = 1000;
    const SENT: usize = 4_000_000;
    let builder = ConcurrentTcpServer::builder().max_line(MOST).rbufsize(64);
    let (server, reports) = reporting(builder, |request| {
        let mut line = String::new();
        let mut errors = Vec::new();
        for _ in 0..100 {
            errors.push(request.rfile.read_line(&mut line).unwrap_err());
            errors.push(
                request
                    .rfile
                    .read_until(b'\n', &mut Vec::new())
                    .unwrap_err(),
            );
        }
        let held = request.rfile.buffer().len();
        // No data is lost: all of it can be read as bytes.
        let mut all = Vec::new();
        request.rfile.read_to_end(&mut all)?;
        Ok((errors, line, held, all))
    })?;
    let mut client = connect(server.server_address());
    let address = client.local_addr()?;
    client.write_all(&vec![b'x'; SENT])?;
    drop(client);
    let (errors, line, held, all) = reports.next()?;
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("1000 bytes"), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    assert_eq!(line, "");
    assert!(held < 3 * MOST, "{held} bytes are buffered");
    assert_eq!(all.len(), SENT);
    Ok(())
}

#[test]
fn a_line_of_the_maximum_length_is_not_an_error() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().max_line(5);
    let (server, reports) = reporting(builder, |request| {
        let mut line = String::new();
        request.rfile.read_line(&mut line)?;
        let too_long = request.rfile.read_line(&mut line).unwrap_err();
        request.rfile.set_max_line(6);
        request.rfile.read_line(&mut line)?;
        Ok((line, too_long.kind()))
    })?;
    connect(server.server_address()).write_all(b"four\nfive5\n")?;
    let expected = ("four\nfive5\n".to_owned(), ErrorKind::InvalidData);
    assert_eq!(reports.next()?, expected);
    Ok(())
}

#[test]
fn a_line_that_is_not_utf_8_is_an_error_and_can_be_read_as_bytes() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        let mut line = "before ".to_owned();
        let error = request.rfile.read_line(&mut line).unwrap_err();
        let mut bytes = Vec::new();
        request.rfile.read_until(b'\n', &mut bytes)?;
        request.rfile.read_line(&mut line)?;
        Ok((error, bytes, line))
    })?;
    connect(server.server_address()).write_all(b"caf\xe9\ntext\n")?;
    let (error, bytes, line) = reports.next()?;
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("UTF-8"), "{error}");
    assert_eq!(bytes, b"caf\xe9\n");
    assert_eq!(line, "before text\n");
    Ok(())
}

#[test]
fn a_timeout_in_the_middle_of_a_line_loses_nothing() -> io::Result<()> {
    let (late, is_late) = bounded(1);
    let builder = ConcurrentTcpServer::builder().read_timeout(Duration::from_millis(20));
    let (server, reports) = reporting(builder, move |request| {
        let mut line = String::new();
        let error = request.rfile.read_line(&mut line).unwrap_err();
        assert_eq!(line, "", "no bytes are consumed");
        late.send(()).map_err(io::Error::other)?;
        request.set_read_timeout(Some(LONG))?;
        request.rfile.read_line(&mut line)?;
        Ok((error, line))
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"first half, ")?;
    is_late.recv_timeout(LONG).expect("the read times out");
    client.write_all(b"second half\n")?;
    let (error, line) = reports.next()?;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let address = client.local_addr()?.to_string();
    assert!(error.to_string().contains(&address), "{error}");
    assert_eq!(line, "first half, second half\n");
    Ok(())
}

/// The socket of the connection, for reads that bypass `rfile`.
fn raw(request: &StreamRequest) -> io::Result<TcpStream> {
    Ok(request.as_fd().try_clone_to_owned()?.into())
}

#[test]
fn without_a_buffer_nothing_is_read_ahead() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().rbufsize(0);
    let (server, reports) = reporting(builder, |request| {
        let line = request.rfile.readline(100)?;
        assert!(request.rfile.buffer().is_empty());
        let mut rest = String::new();
        raw(request)?.read_to_string(&mut rest)?;
        Ok((line, rest))
    })?;
    connect(server.server_address()).write_all(b"a line\nfor the next\n")?;
    let expected = (b"a line\n".to_vec(), "for the next\n".to_owned());
    assert_eq!(reports.next()?, expected);
    Ok(())
}

#[test]
fn the_read_ahead_is_visible() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().rbufsize(10);
    let (server, reports) = reporting(builder, |request| {
        // All data has arrived before the first read, so that the buffer is filled.
        raw(request)?.peek(&mut [0; 1])?;
        let line = request.rfile.readline(100)?;
        let ahead = request.rfile.buffer().to_vec();
        let mut rest = String::new();
        request.rfile.read_to_string(&mut rest)?;
        Ok((line, ahead, rest))
    })?;
    connect(server.server_address()).write_all(b"line\nahead, and the rest")?;
    let (line, ahead, rest) = reports.next()?;
    assert_eq!(line, b"line\n");
    assert_eq!(ahead, b"ahead");
    assert_eq!(rest, "ahead, and the rest");
    Ok(())
}

#[test]
fn a_read_longer_than_the_buffer_bypasses_it() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().rbufsize(10);
    let (server, reports) = reporting(builder, |request| {
        raw(request)?.peek(&mut [0; 1])?;
        let mut out = [0; 20];
        let received = request.rfile.read(&mut out)?;
        Ok((received, request.rfile.buffer().len(), out))
    })?;
    connect(server.server_address()).write_all(b"twenty bytes at once, and more")?;
    let (received, ahead, out) = reports.next()?;
    assert_eq!((received, ahead), (20, 0));
    assert_eq!(&out, b"twenty bytes at once");
    Ok(())
}
