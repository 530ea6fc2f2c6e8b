//! Requests that arrive during a shutdown: every request that has begun is finished.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use socketserver::HandlerError;
use socketserver::prelude::*;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::handlers::{counts, upper_lines};
use support::{
    ANY, LONG, connect, connect_unix, eventually, exchange, in_background, read_all, socket_path,
};

#[test]
fn a_request_is_finished_after_its_first_bytes() {
    let (begun, begins) = channel();
    let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
        assert!(request.wait_for_data()?, "a request arrives");
        begun.send(()).expect("the test receives it");
        upper_lines(request)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"good").expect("the server reads");
    begins.recv_timeout(LONG).expect("the request begins");
    server.handle().shutdown();
    assert_eq!(exchange(&client, "bye\n"), "GOODBYE\n");
    assert_eq!(read_all(client), "");
    server.stop().expect("serving ends without an error");
}

#[test]
fn a_request_that_arrives_just_before_the_shutdown_is_answered() {
    let (_folder, path) = socket_path();
    for _ in 0..100 {
        let (tasks, task) = channel();
        let server = ConcurrentUnixStreamServer::bind_fn(&path, move |request| {
            tasks.send(fs::read_link("/proc/thread-self")?)?;
            upper_lines(request)
        });
        let server = in_background(server);
        let mut client = connect_unix(server.server_address());
        assert_eq!(exchange(&client, "hello\n"), "HELLO\n");
        let task = task.recv_timeout(LONG).expect("the handler runs");
        eventually("the handler waits for a request", || {
            let stat = fs::read_to_string(Path::new("/proc").join(&task).join("stat"));
            stat.expect("the thread runs").contains(") S ")
        });
        // Bytes that are sent over a Unix socket arrive at once. The shutdown may happen before or
        // after the handler wakes up and reads them.
        client.write_all(b"good").expect("the server reads");
        server.handle().shutdown();
        assert_eq!(exchange(&client, "bye\n"), "GOODBYE\n");
        server.stop().expect("serving ends without an error");
    }
}

/// Hooks whose `verify_request` waits until the server shuts down.
struct VerifyUntilShutdown(Sender<()>);

impl Hooks for VerifyUntilShutdown {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.send(())?;
        eventually("the server shuts down", || {
            request.server.is_shutting_down()
        });
        Ok(true)
    }
}

#[test]
fn shutdown_waits_for_a_request_in_verify_request() {
    let (verifying, verifies) = channel();
    let server = in_background(
        ConcurrentTcpServer::builder()
            .hooks(VerifyUntilShutdown(verifying))
            .bind_fn(ANY, upper_lines),
    );
    let mut client = connect(server.server_address());
    client
        .write_all(b"hello\n")
        .expect("the client is accepted");
    verifies.recv_timeout(LONG).expect("the client is accepted");
    assert_eq!(counts(server.handle().shutdown_within(LONG)), (1, 0, 0));
}
