//! Reading lines from `rfile`: any fragmentation, any line end, and clients that close.

use std::io;
use std::net::Shutdown;

use socketserver::prelude::*;

use super::report::reporting;

use support::concurrent::ConcurrentTcpServer;
use support::connect;

const TEXT: &str = "one\ntwo is longer\r\n\n\r\nläst without end";
const LINES: [&str; 5] = [
    "one\n",
    "two is longer\r\n",
    "\n",
    "\r\n",
    "läst without end",
];

fn read_lines(request: &mut StreamRequest) -> io::Result<Vec<String>> {
    let mut lines = vec![String::new()];
    while request
        .rfile
        .read_line(lines.last_mut().expect("the list is not empty"))?
        > 0
    {
        lines.push(String::new());
    }
    lines.pop();
    Ok(lines)
}

#[test]
fn read_line_returns_the_same_lines_with_any_fragmentation() -> io::Result<()> {
    // With a small buffer each receive is small, so every split is tried.
    for bytes in 0..TEXT.len() + 2 {
        let builder = ConcurrentTcpServer::builder().rbufsize(bytes);
        let (server, reports) = reporting(builder, read_lines)?;
        let mut client = connect(server.server_address());
        client.write_all(TEXT.as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        assert_eq!(reports.next()?, LINES, "with a buffer of {bytes} bytes");
    }
    Ok(())
}

#[test]
fn read_line_joins_lines_that_are_sent_byte_by_byte() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), read_lines)?;
    let mut client = connect(server.server_address());
    client.set_nodelay(true)?;
    for byte in TEXT.as_bytes() {
        client.write_all(&[*byte])?;
    }
    drop(client);
    assert_eq!(reports.next()?, LINES);
    Ok(())
}

#[test]
fn lines_returns_lines_without_their_ends() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), |request| {
        request
            .rfile
            .by_ref()
            .lines()
            .collect::<io::Result<Vec<_>>>()
    })?;
    connect(server.server_address()).write_all(TEXT.as_bytes())?;
    let expected = ["one", "two is longer", "", "", "läst without end"];
    assert_eq!(reports.next()?, expected);
    Ok(())
}

#[test]
fn a_loop_over_lines_can_write_to_the_same_client() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(support::ANY, |request| {
        for line in request.rfile.by_ref().lines() {
            writeln!(request.wfile, "<{}>", line?)?;
        }
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let client = connect(server.server_address());
    assert_eq!(support::exchange(&client, "one\r\n"), "<one>\n");
    assert_eq!(support::exchange(&client, "two\n"), "<two>\n");
    Ok(())
}

#[test]
fn read_until_ends_at_any_byte() -> io::Result<()> {
    for bytes in [0, 1, 3, 8192] {
        let builder = ConcurrentTcpServer::builder().rbufsize(bytes);
        let (server, reports) = reporting(builder, |request| {
            let mut records = Vec::new();
            loop {
                let mut record = Vec::new();
                if request.rfile.read_until(b'\0', &mut record)? == 0 {
                    return Ok(records);
                }
                records.push(record);
            }
        })?;
        connect(server.server_address()).write_all(b"a\nb\0\0c\xff\0rest")?;
        let expected: [&[u8]; 4] = [b"a\nb\0", b"\0", b"c\xff\0", b"rest"];
        assert_eq!(reports.next()?, expected);
    }
    Ok(())
}

#[test]
fn readline_returns_a_long_line_in_pieces() -> io::Result<()> {
    for bytes in [0, 1, 3, 4, 5, 8192] {
        let builder = ConcurrentTcpServer::builder().rbufsize(bytes);
        let (server, reports) = reporting(builder, |request| {
            let mut pieces = vec![request.rfile.readline(0)?];
            loop {
                match request.rfile.readline(4)? {
                    end if end.is_empty() => return Ok(pieces),
                    piece => pieces.push(piece),
                }
            }
        })?;
        connect(server.server_address()).write_all(b"0123456789\nabc\n\nabcd\ne")?;
        let expected: [&[u8]; 9] = [
            b"", b"0123", b"4567", b"89\n", b"abc\n", b"\n", b"abcd", b"\n", b"e",
        ];
        assert_eq!(reports.next()?, expected, "with a buffer of {bytes} bytes");
    }
    Ok(())
}

#[test]
fn readline_ignores_max_line() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().max_line(4);
    let (server, reports) = reporting(builder, |request| request.rfile.readline(1_000_000))?;
    let line = [vec![b'x'; 300_000], vec![b'\n']].concat();
    connect(server.server_address()).write_all(&line)?;
    assert!(reports.next()? == line);
    Ok(())
}

#[test]
fn read_and_read_line_can_be_mixed() -> io::Result<()> {
    for bytes in [0, 1, 5, 8192] {
        let builder = ConcurrentTcpServer::builder().rbufsize(bytes);
        let (server, reports) = reporting(builder, |request| {
            let mut length = String::new();
            request.rfile.read_line(&mut length)?;
            let mut body = vec![0; length.trim_end().parse().map_err(io::Error::other)?];
            // `recv` returns the bytes that are available.
            let received = request.rfile.read(&mut body)?;
            request.rfile.read_exact(&mut body[received..])?;
            let mut after = String::new();
            request.rfile.read_line(&mut after)?;
            let mut rest = Vec::new();
            request.rfile.read_to_end(&mut rest)?;
            Ok((body, after, rest))
        })?;
        connect(server.server_address()).write_all(b"6\nbo\ndy!after\nthe\nrest")?;
        let expected = (
            b"bo\ndy!".to_vec(),
            "after\n".to_owned(),
            b"the\nrest".to_vec(),
        );
        assert_eq!(reports.next()?, expected, "with a buffer of {bytes} bytes");
    }
    Ok(())
}

#[test]
fn a_close_in_the_middle_of_a_line_returns_the_partial_line() -> io::Result<()> {
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), read_lines)?;
    connect(server.server_address()).write_all(b"whole\nhal")?;
    assert_eq!(reports.next()?, ["whole\n", "hal"]);
    Ok(())
}

#[test]
fn a_reset_in_the_middle_of_a_line_is_an_error_and_keeps_the_partial_line() -> io::Result<()> {
    let (buffered, is_buffered) = crossbeam_channel::bounded(1);
    let (server, reports) = reporting(ConcurrentTcpServer::builder(), move |request| {
        request.rfile.fill_buf()?;
        buffered.send(()).map_err(io::Error::other)?;
        let mut line = String::new();
        let error = request.rfile.read_line(&mut line).unwrap_err();
        Ok((error.kind(), line, request.rfile.buffer().to_vec()))
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"hal")?;
    is_buffered
        .recv_timeout(support::LONG)
        .expect("the handler reads");
    support::reset(client);
    let (kind, line, kept) = reports.next()?;
    assert_eq!(kind, io::ErrorKind::ConnectionReset);
    assert_eq!(line, "");
    assert_eq!(kept, b"hal");
    Ok(())
}
