//! A client that is accepted during a shutdown has sent nothing, so its connection is idle and does
//! not delay the shutdown.

use std::net::TcpStream;
use std::time::Instant;

use socket2::SockRef;
use socketserver::dispatch::Inline;
use socketserver::prelude::*;
use socketserver::{Dispatch, Listener, Server};

use support::concurrent::Concurrent;
use support::listener::FakeListener;
use support::{LONG, connect, in_background, read_all};

/// A handler that reads without `wait_for_data`.
fn read(request: &mut StreamRequest) -> HandlerResult {
    assert_eq!(request.rfile.readline(100)?, b"", "nothing was sent");
    Ok(())
}

fn the_server_ends<D: Dispatch + Default>(listener: FakeListener) {
    let server = Server::<FakeListener, D>::builder().adopt(listener, || read);
    let client = connect(
        server
            .as_ref()
            .expect("the socket is bound")
            .server_address(),
    );
    let started = Instant::now();
    let server = in_background(server);
    assert_eq!(read_all(&client), "");
    server.stop().expect("a shutdown is not an error");
    assert!(started.elapsed() < LONG, "the default limit is 30 s");
}

/// A listener that shuts the server down before it accepts. The server has already checked for a
/// shutdown.
fn shut_down_before_accept() -> FakeListener {
    FakeListener::new(|tcp, server| {
        server.shutdown();
        tcp.accept(server)
    })
}

/// A listener that shuts the server down after it has accepted a connection, before it returns it.
fn shut_down_after_accept() -> FakeListener {
    FakeListener::new(|tcp, server| {
        let (socket, client) = SockRef::from(tcp).accept()?;
        server.shutdown();
        Ok(StreamRequest::new(
            TcpStream::from(socket),
            client.into(),
            server,
        ))
    })
}

#[test]
fn shutdown_just_before_accept() {
    the_server_ends::<Inline>(shut_down_before_accept());
    the_server_ends::<Concurrent>(shut_down_before_accept());
}

#[test]
fn shutdown_just_after_accept() {
    the_server_ends::<Inline>(shut_down_after_accept());
    the_server_ends::<Concurrent>(shut_down_after_accept());
}
