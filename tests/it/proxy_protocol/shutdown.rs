//! A shutdown while a connection waits for its PROXY header.

use std::io::Write;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use socketserver::Statistics;
use socketserver::dispatch::{Dispatch, Job};
use socketserver::prelude::*;
use socketserver::proxy_protocol::ProxyProtocol;

use support::concurrent::ConcurrentTcpServer;
use support::counts::{reasons, settled};
use support::{
    ANY, HOUR, LONG, connect, eventually, in_background, join_soon, read_all, unacknowledged,
};

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n";

fn proxies() -> ProxyProtocol {
    let proxies = ProxyProtocol::required(["127.0.0.1"]).expect("the list is valid");
    proxies.header_timeout(HOUR)
}

/// Nothing that a client wants is lost.
#[test]
fn a_graceful_shutdown_does_not_wait_for_a_header() {
    let builder = ConcurrentTcpServer::builder().shutdown_timeout(HOUR);
    let server = builder.proxy_protocol(proxies()).bind_fn(ANY, |_| Ok(()));
    let server = in_background(server);
    let handle = server.handle();
    let silent = connect(server.server_address());
    let mut slow = connect(server.server_address());
    slow.write_all(&HEADER[..20]).expect("the server reads");
    eventually("both are waited for", || {
        let now = handle.statistics();
        (now.active, now.bytes_in) == (2, 20)
    });
    let stopping = thread::spawn(move || server.stop());
    assert_eq!([read_all(silent), read_all(slow)], ["", ""]);
    join_soon(stopping).expect("a shutdown is not an error");
    let statistics = settled(&handle, 2);
    assert_eq!(reasons(&statistics), [0, 0, 0, 0, 2, 0]);
}

/// Runs each job when the test allows it.
struct Later(Receiver<()>);

impl Dispatch for Later {
    fn dispatch(&self, job: Job) {
        let allowed = self.0.clone();
        thread::spawn(move || {
            allowed.recv_timeout(LONG).expect("the test allows it");
            job.run();
        });
    }
}

/// A server whose handler echoes one message, and what allows it to run.
fn later() -> (BackgroundServer, Sender<()>) {
    let (allow, allowed) = unbounded();
    let builder = TcpServer::builder().dispatch(Later(allowed));
    let builder = builder.shutdown_timeout(HOUR).proxy_protocol(proxies());
    let server = builder.bind_fn(ANY, |request| {
        let mut message = [0; 100];
        let length = request.rfile.read(&mut message)?;
        Ok(request.wfile.write_all(&message[..length])?)
    });
    (in_background(server), allow)
}

#[test]
fn a_message_that_arrived_before_a_shutdown_is_served() {
    let statistics = expect_after_shutdown(&[HEADER, b"hello"].concat(), "hello");
    assert_eq!(statistics.finished, 1);
}

#[test]
fn a_connection_with_a_header_only_is_idle() {
    let statistics = expect_after_shutdown(HEADER, "");
    assert_eq!(statistics.finished, 1);
}

#[test]
fn a_half_header_is_not_waited_for() {
    let statistics = expect_after_shutdown(&HEADER[..20], "");
    assert_eq!(statistics.rejected.shutdown, 1);
}

/// The shutdown begins when the bytes are in the server's socket, and nothing was read.
fn expect_after_shutdown(bytes: &[u8], answer: &str) -> Statistics {
    let (server, allow) = later();
    let handle = server.handle();
    let mut proxy = connect(server.server_address());
    proxy
        .write_all(bytes)
        .expect("the server's system takes it");
    eventually("it has arrived", || {
        handle.statistics().active == 1 && unacknowledged(&proxy) == 0
    });
    let stopping = thread::spawn(move || server.stop());
    eventually("the shutdown has begun", || handle.is_shutting_down());
    allow.send(()).expect("the job waits");
    assert_eq!(read_all(proxy), answer);
    join_soon(stopping).expect("a shutdown is not an error");
    settled(&handle, 1)
}
