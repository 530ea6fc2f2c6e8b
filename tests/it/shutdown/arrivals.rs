//! Requests that arrive while the server shuts down: one that has begun is finished, none is forgotten.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use socketserver::dispatch::ThreadPool;
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Address, HandlerError, Listener, Server, ServerHandle};

use support::handlers::counts;
use support::{ANY, LONG, connect, connect_unix, eventually, exchange, in_background, read_all, socket_path};

/// Upper case for each line, idle in between.
fn shout(request: &mut StreamRequest) -> HandlerResult {
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
        begun.send(()).expect("the test waits for it");
        shout(request)
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
            shout(request)
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

/// Shuts the server down between its look at that and the accept.
struct TooLate(Tcp);

impl Listener for TooLate {
    type Request = StreamRequest;

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        server.shutdown();
        self.0.accept(server)
    }

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.server_activate()
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_address()
    }
}

impl AsFd for TooLate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_connection_accepted_during_the_shutdown_is_idle_like_the_others() {
    let socket = TcpListener::bind(ANY).expect("loopback");
    let builder = Server::<TooLate, ThreadPool>::builder();
    // Only waits to be sent something.
    let handler = || {
        |request: &mut StreamRequest| {
            request.rfile.readline(100)?;
            Ok(())
        }
    };
    let server = builder.adopt(TooLate(socket.into()), handler);
    let server = server.expect("it can listen");
    let client = connect(server.server_address());
    let started = Instant::now();
    server.serve_forever().expect("a shutdown is no error");
    assert_eq!(read_all(client), "");
    server.server_close();
    assert!(started.elapsed() < LONG, "the default bound is 30 s");
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
            .bind_fn(ANY, shout),
    );
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n").expect("it is accepted");
    verifies.recv_timeout(LONG).expect("it is accepted");
    assert_eq!(counts(server.handle().shutdown_within(LONG)), (1, 0, 0));
}
