//! A client that is accepted while the server shuts down: it is idle like all that have sent nothing,
//! and does not keep the server from ending.

use std::net::TcpStream;
use std::time::Instant;

use socket2::SockRef;
use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::prelude::*;
use socketserver::{Dispatch, Listener, Server};

use support::listener::FakeListener;
use support::{LONG, connect, in_background, read_all};

/// Reads, without `wait_for_data`.
fn read(request: &mut StreamRequest) -> HandlerResult {
    assert_eq!(request.rfile.readline(100)?, b"", "nothing was sent");
    Ok(())
}

fn the_server_ends<D: Dispatch + Default>(listener: FakeListener) {
    let server = Server::<FakeListener, D>::builder().adopt(listener, || read);
    let client = connect(server.as_ref().expect("it is bound").server_address());
    let started = Instant::now();
    let server = in_background(server);
    assert_eq!(read_all(&client), "");
    server.stop().expect("a shutdown is no error");
    assert!(started.elapsed() < LONG, "the default limit is 30 s");
}

/// The server has looked whether it shuts down, and accepts then.
fn shut_down_before_accept() -> FakeListener {
    FakeListener::new(|tcp, server| {
        server.shutdown();
        tcp.accept(server)
    })
}

/// The connection is there, and the server does not know it yet.
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
fn a_shutdown_just_before_the_accept() {
    the_server_ends::<Inline>(shut_down_before_accept());
    the_server_ends::<ThreadPool>(shut_down_before_accept());
}

#[test]
fn a_shutdown_just_after_the_accept() {
    the_server_ends::<Inline>(shut_down_after_accept());
    the_server_ends::<ThreadPool>(shut_down_after_accept());
}
