//! Handles to open connections: sending, closing, and comparing.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::request::Connection;
use socketserver::task;

use support::concurrent::ConcurrentTcpServer;
use support::{ANY, LONG, connect, eventually, read_all};

/// A server that sends a handle of each connection to the test. Its handlers wait until the client
/// or the test closes the connection.
fn registering() -> io::Result<(BackgroundServer, Receiver<Connection>)> {
    let (register, connections) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        register.send(request.connection()?)?;
        io::copy(&mut request.rfile, &mut io::sink())?;
        Ok(())
    })?;
    Ok((server.serve_in_background()?, connections))
}

fn client_of(
    server: &BackgroundServer,
    connections: &Receiver<Connection>,
) -> (TcpStream, Connection) {
    let client = connect(server.server_address());
    let connection = connections.recv_timeout(LONG).expect("the handler starts");
    (client, connection)
}

#[test]
fn every_thread_can_send_through_a_handle() -> io::Result<()> {
    let (server, connections) = registering()?;
    let (mut client, connection) = client_of(&server, &connections);
    assert_eq!(*connection.client_address(), client.local_addr()?);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| connection.send_all(b"word "));
        }
    });
    let mut words = [0; 25];
    client.read_exact(&mut words)?;
    assert_eq!(words, *b"word word word word word ");
    Ok(())
}

#[test]
fn shutdown_ends_reads_and_writes_of_the_handler() -> io::Result<()> {
    let (register, connections) = unbounded();
    let (report, reports) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        register.send(request.connection()?)?;
        let line = request.rfile.readline(100)?;
        let error = request.wfile.write_all(b"hello").unwrap_err();
        Ok(report.send((line, error.kind()))?)
    })?;
    let server = server.serve_in_background()?;
    let (client, connection) = client_of(&server, &connections);
    connection.shutdown()?;
    let report = reports.recv_timeout(LONG);
    assert_eq!(report, Ok((vec![], ErrorKind::BrokenPipe)));
    assert_eq!(read_all(client), "");
    server.stop()
}

#[test]
fn a_handle_to_a_closed_connection_returns_not_connected() -> io::Result<()> {
    let (server, connections) = registering()?;
    let (client, connection) = client_of(&server, &connections);
    let address = client.local_addr()?;
    drop(client);
    let not_connected = |result: io::Result<()>| {
        result.is_err_and(|e| {
            e.kind() == ErrorKind::NotConnected && e.to_string().contains(&address.to_string())
        })
    };
    eventually("the server closes the connection", || {
        not_connected(connection.send_all(b"x"))
    });
    assert!(not_connected(connection.shutdown()));
    assert!(not_connected(connection.set_write_timeout(Some(LONG))));
    // The address and the number of the connection are still known.
    assert_eq!(*connection.client_address(), address);
    assert_eq!(connection.id(), 1);
    server.stop()
}

#[test]
fn handles_to_the_same_connection_are_equal() -> io::Result<()> {
    let (register, connections) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        register.send(request.connection()?)?;
        register.send(request.connection()?)?;
        io::copy(&mut request.rfile, &mut io::sink())?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let clients = [(); 3].map(|()| connect(server.server_address()));
    let next = || connections.recv_timeout(LONG).expect("the handlers start");
    let handles: Vec<_> = (0..6).map(|_| next()).collect();
    for one in &handles {
        assert_eq!(one, &one.clone());
        assert_eq!(handles.iter().filter(|other| *other == one).count(), 2);
        for other in &handles {
            assert_eq!(one == other, one.id() == other.id());
        }
    }
    let ids: HashSet<_> = handles.iter().map(Connection::id).collect();
    assert_eq!(ids, HashSet::from([1, 2, 3]));
    drop(clients);
    server.stop()
}

#[test]
fn a_handle_can_be_used_after_its_connection_is_detached() -> io::Result<()> {
    let (register, connections) = unbounded();
    let (detached, requests) = unbounded();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        register.send(request.connection()?)?;
        detached
            .send(request.detach())
            .map_err(|_| "the test has ended")?;
        Ok(())
    })?;
    let server = server.serve_in_background()?;
    let (client, connection) = client_of(&server, &connections);
    let request = requests
        .recv_timeout(LONG)
        .expect("the request is detached");
    server.stop()?;
    assert_eq!(request.connection()?, connection);
    connection.send_all(b"still here")?;
    drop(request);
    assert_eq!(read_all(client), "still here");
    assert!(connection.send_all(b"too late").is_err());
    Ok(())
}

#[test]
fn a_broadcast_is_never_sent_in_the_middle_of_a_reply() -> io::Result<()> {
    const REPLY: usize = 1_000_000;
    const BROADCAST: usize = 200;
    let (register, connections) = unbounded();
    let (results, told_all) = task::bounded::<()>(1);
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        // With small buffers the reply needs many writes.
        SockRef::from(&*request).set_send_buffer_size(16_384)?;
        register.send(request.connection()?)?;
        request.wfile.write_all(&vec![b'.'; REPLY])?;
        Ok(told_all.recv_timeout(LONG)?)
    })?;
    let server = server.serve_in_background()?;
    let (client, connection) = client_of(&server, &connections);
    SockRef::from(&client).set_recv_buffer_size(16_384)?;
    // The first byte has arrived, and the last byte cannot have been sent.
    client.peek(&mut [0; 1])?;
    let broadcast = thread::spawn(move || -> io::Result<()> {
        for _ in 0..BROADCAST {
            connection.send_all(b"news")?;
        }
        results.send(()).expect("the handler waits");
        Ok(())
    });
    let received = read_all(client);
    broadcast.join().expect("no panic")?;
    assert_eq!(received.len(), REPLY + BROADCAST * 4);
    assert!(
        received.starts_with(&".".repeat(REPLY)),
        "another write interrupted the reply"
    );
    assert_eq!(&received[REPLY..], "news".repeat(BROADCAST));
    server.stop()
}
