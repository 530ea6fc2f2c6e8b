//! A fake listener, whose `accept` is a function of the test. It injects rare errors of the kernel.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};

use socketserver::listener::Tcp;
use socketserver::{Address, Listener, ServerHandle, StreamRequest};

use crate::ANY;

type Accept = dyn Fn(&Tcp, &ServerHandle) -> io::Result<StreamRequest> + Send + Sync;

/// A TCP socket on a free port, with an `accept` that the test provides. Use it with
/// `Server::from_listener`.
pub struct FakeListener {
    tcp: Tcp,
    accept: Box<Accept>,
}

impl FakeListener {
    pub fn new(
        accept: impl Fn(&Tcp, &ServerHandle) -> io::Result<StreamRequest> + Send + Sync + 'static,
    ) -> Self {
        FakeListener {
            tcp: TcpListener::bind(ANY).expect("a port is free").into(),
            accept: Box::new(accept),
        }
    }
}

impl Listener for FakeListener {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.tcp.server_activate()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        (self.accept)(&self.tcp, server)
    }

    fn local_address(&self) -> io::Result<Address> {
        self.tcp.local_address()
    }
}

impl AsFd for FakeListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
