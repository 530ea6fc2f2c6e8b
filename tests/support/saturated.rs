//! Servers at their limit of connections, which reject further clients.

use std::net::TcpStream;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, OverloadPolicy, RejectReason, Stage};

use crate::concurrent::{Concurrent, ConcurrentTcpServer};
use crate::gate::Gate;
use crate::{ANY, connect, eventually, in_background, read_all};

/// A time that is longer than a rejection may take, and shorter than the time that hooks block.
pub const SOON: Duration = Duration::from_secs(8);

pub type Rejecting = fn(&mut StreamRequest) -> HandlerResult;

/// Hooks that reject with a function of the test, and report errors.
struct Rejects {
    reject: Rejecting,
    errors: Sender<(Stage, String)>,
}

impl Hooks for Rejects {
    fn reject_request(&self, request: &mut StreamRequest, why: RejectReason) -> HandlerResult {
        assert!(matches!(
            why,
            RejectReason::Overload | RejectReason::QueueTimeout
        ));
        (self.reject)(request)
    }

    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        // The receiver is dropped if the test has ended.
        let _ = self.errors.send((error.stage(), error.to_string()));
    }
}

/// A server with a limit of one connection, and the client that uses it.
pub struct Saturated {
    pub server: BackgroundServer,
    pub gate: Gate,
    pub first: TcpStream,
    pub errors: Receiver<(Stage, String)>,
}

impl Saturated {
    pub fn new(policy: OverloadPolicy, reject: Rejecting) -> Self {
        // Closing must not wait for hooks that sleep.
        let builder = one().shutdown_timeout(Duration::from_millis(100));
        Self::with(builder.overload(policy), reject)
    }

    pub fn with(builder: Builder<Tcp, Concurrent>, reject: Rejecting) -> Self {
        let gate = Gate::default();
        let (sender, errors) = unbounded();
        let builder = builder.hooks(Rejects {
            reject,
            errors: sender,
        });
        let server = in_background(builder.bind_fn(ANY, gate.handler()));
        let first = connect_as(&server.handle(), "first");
        assert_eq!(gate.next(), "first");
        Saturated {
            server,
            gate,
            first,
            errors,
        }
    }

    /// Checks that the first client and the next one are served.
    pub fn serves(self) {
        self.gate.release(2);
        assert_eq!(read_all(self.first), "first\n");
        eventually("the first request has ended", || {
            self.server.handle().statistics().active == 0
        });
        assert_eq!(
            read_all(connect_as(&self.server.handle(), "next")),
            "next\n"
        );
    }
}

pub fn one() -> Builder<Tcp, Concurrent> {
    ConcurrentTcpServer::builder().max_connections(1)
}

pub fn connect_as(server: &ServerHandle, name: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    // The server may reject the client and close the connection before this write.
    let _ = writeln!(client, "{name}");
    client
}
