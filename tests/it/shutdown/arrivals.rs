//! Requests that arrive while the server shuts down: one that has begun is finished, none is forgotten.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use socketserver::HandlerError;
use socketserver::prelude::*;

use support::handlers::counts;
use support::{
    ANY, LONG, connect, connect_unix, eventually, exchange, in_background, read_all, socket_path,
};

/// Upper case for each line, idle in between.
fn upper(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let line = request.rfile.readline(100)?;
        request.wfile.write_all(&line.to_ascii_uppercase())?;
    }
    Ok(())
}

#[test]
fn half_a_line_makes_a_request_that_is_finished() {
    let (begun, begins) = channel();
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        assert!(request.wait_for_data()?, "a request comes");
        begun.send(()).expect("the test receives it");
        upper(request)
    });
    let server = in_background(server);
    let mut client = connect(server.server_address());
    client.write_all(b"good").expect("the server reads");
    begins.recv_timeout(LONG).expect("the request begins");
    server.handle().shutdown();
    assert_eq!(exchange(&client, "bye\n"), "GOODBYE\n");
    assert_eq!(read_all(client), "");
    server.stop().expect("it was asked to");
}

#[test]
fn a_request_that_arrives_just_before_the_shutdown_is_answered() {
    let (_folder, path) = socket_path();
    for _ in 0..100 {
        let (tasks, task) = channel();
        let server = ThreadingUnixStreamServer::bind_fn(&path, move |request| {
            tasks.send(fs::read_link("/proc/thread-self")?)?;
            upper(request)
        });
        let server = in_background(server);
        let mut client = connect_unix(server.server_address());
        assert_eq!(exchange(&client, "hello\n"), "HELLO\n");
        let task = task.recv_timeout(LONG).expect("the handler runs");
        eventually("it waits for a request", || {
            let stat = fs::read_to_string(Path::new("/proc").join(&task).join("stat"));
            stat.expect("it lives").contains(") S ")
        });
        // What is sent over a Unix socket has arrived. The handler wakes up, and is anywhere between
        // its wait and having read it when the server shuts down.
        client.write_all(b"good").expect("the server reads");
        server.handle().shutdown();
        assert_eq!(exchange(&client, "bye\n"), "GOODBYE\n");
        server.stop().expect("it was asked to");
    }
}

/// Takes its time to verify: until the server shuts down.
struct Slow(Sender<()>);

impl Hooks for Slow {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.send(())?;
        eventually("it shuts down", || request.server.is_shutting_down());
        Ok(true)
    }
}

#[test]
fn a_request_on_its_way_to_its_handler_is_waited_for() {
    let (verifying, verifies) = channel();
    let server = in_background(
        ThreadingTcpServer::builder()
            .hooks(Slow(verifying))
            .bind_fn(ANY, upper),
    );
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n").expect("it is accepted");
    verifies.recv_timeout(LONG).expect("it is accepted");
    assert_eq!(counts(server.handle().shutdown_within(LONG)), (1, 0, 0));
}
