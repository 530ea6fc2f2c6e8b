//! A shutdown while a connection waits for its PROXY header.

use std::io::Write;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use socketserver::dispatch::{Dispatch, Job};
use socketserver::prelude::*;
use socketserver::proxy_protocol::ProxyProtocol;

use support::concurrent::ConcurrentTcpServer;
use support::counts::{reasons, settled};
use support::{ANY, HOUR, LONG, connect, eventually, in_background, join_soon, read_all};

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
    expect_after_shutdown(b"hello", "hello");
}

#[test]
fn a_connection_with_a_header_only_is_idle() {
    expect_after_shutdown(b"", "");
}

/// The shutdown begins when the header and the message are in the server's socket.
fn expect_after_shutdown(message: &[u8], answer: &str) {
    let (server, allow) = later();
    let handle = server.handle();
    let mut proxy = connect(server.server_address());
    let sent = proxy.write_all(&[HEADER, message].concat());
    sent.expect("the server's system takes it");
    eventually("it has arrived", || {
        handle.statistics().active == 1 && support::unacknowledged(&proxy) == 0
    });
    let begun = Instant::now();
    let stopping = thread::spawn(move || server.stop());
    eventually("the shutdown has begun", || handle.is_shutting_down());
    allow.send(()).expect("the job waits");
    assert_eq!(read_all(proxy), answer);
    join_soon(stopping).expect("a shutdown is not an error");
    assert!(begun.elapsed() < LONG);
    assert_eq!(settled(&handle, 1).finished, 1);
}

#[test]
fn a_forced_close_ends_the_wait_for_a_header() {
    let (server, allow) = later();
    let handle = server.handle();
    let mut proxy = connect(server.server_address());
    proxy
        .write_all(&HEADER[..20])
        .expect("the server's system takes it");
    eventually("it has arrived", || {
        handle.statistics().active == 1 && support::unacknowledged(&proxy) == 0
    });
    // A part has arrived, so the graceful shutdown lets it go on.
    handle.shutdown();
    allow.send(()).expect("the job waits");
    eventually("it waits for the rest", || {
        handle.statistics().bytes_in == 20
    });
    handle.shutdown_within(std::time::Duration::ZERO);
    support::assert_reset(&proxy);
    assert_eq!(settled(&handle, 1).disconnected, 1);
}
