//! `for line in &mut request.rfile`: each line is a message, and the connection is idle between two
//! lines.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch, Server};

use super::report::reporting;
use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::kind::{Client, Kind};
use support::{
    ANY, connect, eventually, exchange, for_each, in_background, read_all, socket_folder,
};

fn upper(request: &mut StreamRequest) -> HandlerResult {
    for line in &mut request.rfile {
        request.wfile.write_all(&line?.to_ascii_uppercase())?;
    }
    Ok(())
}

fn serve<L, D>(folder: &std::path::Path) -> BackgroundServer
where
    L: Kind<Request = StreamRequest>,
    D: Dispatch + Default,
{
    in_background(Server::<L, D>::bind_fn(L::address(folder), upper))
}

/// Waits until the server has received this many bytes.
fn received(server: &ServerHandle, bytes: u64) {
    eventually("the server has received the bytes", || {
        server.statistics().bytes_in == bytes
    });
}

fn a_shutdown_ends_the_loop_between_two_lines<L, D>()
where
    L: Kind<Request = StreamRequest>,
    D: Dispatch + Default,
{
    let folder = socket_folder();
    let server = serve::<L, D>(folder.path());
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("one"), "ONE");
    assert_eq!(client.exchange("two"), "TWO");
    let handle = server.handle();
    server.stop().expect("a shutdown is not an error");
    assert_eq!(client.receive_line(), "");
    assert_eq!(handle.statistics().finished, 1);
}

for_each! { {a_shutdown_ends_the_loop_between_two_lines}
    tcp: Tcp, Inline;
    concurrent_tcp: Tcp, Concurrent;
    unix_stream: Unix, Inline;
    concurrent_unix_stream: Unix, Concurrent;
}

#[test]
fn a_line_is_bytes_with_its_end() -> io::Result<()> {
    let (server, lines) = reporting(ConcurrentTcpServer::builder(), |request| {
        request.rfile.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"one\r\n\n\xff\0\nno end")?;
    client.shutdown(Shutdown::Write)?;
    let expected: [&[u8]; 4] = [b"one\r\n", b"\n", b"\xff\0\n", b"no end"];
    assert_eq!(lines.next()?, expected);
    server.stop()
}

#[test]
fn a_shutdown_does_not_end_the_loop_inside_a_line() -> io::Result<()> {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, upper));
    let mut client = connect(server.server_address());
    client.write_all(b"ha")?;
    received(&server.handle(), 2);
    server.handle().shutdown();
    assert_eq!(exchange(&client, "lf\n"), "HALF\n");
    assert_eq!(read_all(client), "");
    server.stop()
}

#[test]
fn pipelined_lines_are_all_answered() -> io::Result<()> {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, upper));
    let mut client = connect(server.server_address());
    client.write_all(b"one\ntwo\nthree")?;
    received(&server.handle(), 13);
    server.handle().shutdown();
    client.write_all(b"\n")?;
    assert_eq!(read_all(client), "ONE\nTWO\nTHREE\n");
    server.stop()
}

/// Headers are read with `readline`, which never marks the connection idle.
#[test]
fn a_shutdown_does_not_end_a_header() -> io::Result<()> {
    let (server, header) = reporting(ConcurrentTcpServer::builder(), |request| {
        let mut header = Vec::new();
        while !header.ends_with(b"\n\n") {
            header.extend(request.rfile.readline(100)?);
        }
        Ok(header)
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"a: 1\n")?;
    received(&server.handle(), 5);
    server.handle().shutdown();
    client.write_all(b"b: 2\n\n")?;
    assert_eq!(header.next()?, b"a: 1\nb: 2\n\n");
    server.stop()
}

#[test]
fn the_idle_timeout_ends_the_loop_without_an_error() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().idle_timeout(Duration::from_millis(100));
    let (server, lines) = reporting(builder, |request| {
        request.rfile.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"one\n")?;
    assert_eq!(lines.next()?, [b"one\n"]);
    assert_eq!(read_all(client), "");
    server.stop()
}

#[test]
fn a_line_longer_than_max_line_is_the_last_item_and_an_error() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().max_line(4);
    let (server, kinds) = reporting(builder, |request| {
        let lines = request.rfile.into_iter();
        Ok(lines
            .map(|line| line.map_err(|e| e.kind()))
            .collect::<Vec<_>>())
    })?;
    let mut client = connect(server.server_address());
    client.write_all(b"one\nfour\n")?;
    let expected = [Ok(b"one\n".to_vec()), Err(ErrorKind::InvalidData)];
    assert_eq!(kinds.next()?, expected);
    server.stop()
}

/// Another thread may still write to the client.
#[test]
fn a_shutdown_does_not_end_the_loop_over_a_half() -> io::Result<()> {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let (mut rfile, wfile) = request.split();
        for line in &mut rfile {
            wfile.write_all(&line?.to_ascii_uppercase())?;
        }
        Ok(())
    }));
    continues_after_a_shutdown(&server)?;
    server.stop()
}

#[test]
fn a_shutdown_does_not_end_the_loop_of_a_detached_request() -> io::Result<()> {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |request| {
        let mut request = request.detach();
        thread::spawn(move || upper(&mut request).map_err(|e| e.to_string()));
        Ok(())
    }));
    continues_after_a_shutdown(&server)?;
    server.stop()
}

fn continues_after_a_shutdown(server: &BackgroundServer) -> io::Result<()> {
    let client: TcpStream = connect(server.server_address());
    assert_eq!(exchange(&client, "one\n"), "ONE\n");
    server.handle().shutdown();
    server.handle().wait();
    assert_eq!(exchange(&client, "two\n"), "TWO\n");
    client.shutdown(Shutdown::Write)?;
    assert_eq!(read_all(client), "");
    Ok(())
}

/// Buffered answers are sent before the loop waits for the next line.
#[test]
fn the_loop_flushes_before_it_waits() -> io::Result<()> {
    let builder: Builder<Tcp, Concurrent> = ConcurrentTcpServer::builder().wbufsize(100);
    let server = in_background(builder.bind_fn(ANY, upper));
    let client = connect(server.server_address());
    assert_eq!(exchange(&client, "one\n"), "ONE\n");
    assert_eq!(exchange(&client, "two\n"), "TWO\n");
    drop(client);
    server.stop()
}
