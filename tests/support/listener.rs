//! A fake listener, whose `accept` is a function of the test. It injects rare errors of the kernel.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socketserver::listener::Tcp;
use socketserver::{Address, Listener, ServerHandle, StreamRequest};

use crate::ANY;

type Accept = dyn Fn(&Tcp, &ServerHandle) -> io::Result<StreamRequest> + Send + Sync;

/// A TCP socket on a free port, with an `accept` that the test provides. Use it with
/// `Server::from_listener`.
pub struct FakeListener {
    tcp: Tcp,
    accept: Box<Accept>,
    /// What the server waits on instead, while the flag is set. A poller refuses a regular file.
    unpollable: Option<(File, Arc<AtomicBool>)>,
}

impl FakeListener {
    pub fn new(
        accept: impl Fn(&Tcp, &ServerHandle) -> io::Result<StreamRequest> + Send + Sync + 'static,
    ) -> Self {
        FakeListener {
            tcp: TcpListener::bind(ANY).expect("a port is free").into(),
            accept: Box::new(accept),
            unpollable: None,
        }
    }

    /// The server's poller fails while the flag is set.
    pub fn with_failing_poller(mut self, fails: Arc<AtomicBool>) -> Self {
        let file = tempfile::tempfile().expect("the temporary folder is writable");
        self.unpollable = Some((file, fails));
        self
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
        match &self.unpollable {
            Some((file, fails)) if fails.load(Ordering::SeqCst) => file.as_fd(),
            _ => self.tcp.as_fd(),
        }
    }
}
