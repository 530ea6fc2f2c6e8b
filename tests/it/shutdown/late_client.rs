//! A client that is accepted in the moment in which the server is shut down.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::{Address, Dispatch, Server, ServerHandle};

use support::{ANY, connect, in_background, read_all};

/// Shuts its server down when a client has been accepted and the server does not know it yet.
struct ShutDownOnAccept(TcpListener, Tcp);

impl Listener for ShutDownOnAccept {
    type Request = StreamRequest;

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let (stream, client) = self.0.accept()?;
        server.shutdown();
        Ok(StreamRequest::new(stream, client.into(), server))
    }

    fn server_activate(&mut self) -> io::Result<()> {
        self.1.server_activate()
    }

    fn local_address(&self) -> io::Result<Address> {
        self.1.local_address()
    }
}

impl AsFd for ShutDownOnAccept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

fn expect_end<D: Dispatch + Default>() {
    let socket = TcpListener::bind(ANY).expect("a port is free");
    let inner = Tcp::from(socket.try_clone().expect("a descriptor is free"));
    let handler = |request: &mut StreamRequest| {
        // Plain reading, without a word about being idle.
        let mut message = String::new();
        request.rfile.read_to_string(&mut message)?;
        Ok(())
    };
    let server = in_background(
        Server::<ShutDownOnAccept, D>::builder()
            .adopt(ShutDownOnAccept(socket, inner), move || handler),
    );
    let client = connect(server.server_address());
    // Fails after the client's timeout if nobody ends the connection.
    assert_eq!(read_all(&client), "");
    server.stop().expect("it was shut down");
}

#[test]
fn it_does_not_keep_a_server_with_threads_from_ending() {
    expect_end::<ThreadPool>();
}

#[test]

fn it_does_not_keep_a_server_without_threads_from_ending() {
    expect_end::<Inline>();
}
