//! `shutdown` wakes the acceptor and ends serving, from any thread and in any state.

use std::io::{self, Read};
use std::sync::mpsc::channel;
use std::thread;

use socketserver::prelude::*;

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::event_log::EventLog;
use support::handlers::echo_line;
use support::{ANY, HOUR, connect, exchange, join_soon, next, read_all};

struct RecordIterations(EventLog);

impl Hooks for RecordIterations {
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        self.0.record("iteration");
        Ok(())
    }
}

#[test]
fn shutdown_wakes_a_server_whose_poll_interval_is_an_hour() {
    let event_log = EventLog::default();
    let builder = TcpServer::builder()
        .hooks(RecordIterations(event_log.clone()))
        .poll_interval(HOUR);
    let server = builder.bind_fn(ANY, echo_line).expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || server.serve_forever());
    // The loop iteration has ended, so the acceptor sleeps or will sleep soon.
    assert_eq!(exchange(connect(handle.server_address()), "hi\n"), "hi\n");
    event_log.wait_for("iteration");
    handle.shutdown();
    join_soon(serving).expect("a shutdown is not an error");
}

#[test]
fn shutdown_wakes_a_handle_request_without_a_timeout() {
    let server = TcpServer::bind_fn(ANY, echo_line).expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || server.handle_request());
    handle.shutdown();
    join_soon(serving).expect("a shutdown is not an error");
}

#[test]
fn shutdown_ends_serving_at_the_limit_of_the_dispatcher() {
    let (reporter, inside) = channel();
    let builder = ConcurrentTcpServer::builder().dispatch(Concurrent::at_most(1));
    let server = builder.bind_fn(ANY, move |request| {
        reporter.send(())?;
        request.rfile.readline(10)?;
        request.rfile.readline(10)?;
        Ok(())
    });
    let server = server.expect("a port is free");
    let handle = server.handle();
    let serving = thread::spawn(move || (server.serve_forever(), server));
    let mut busy = connect(handle.server_address());
    busy.write_all(b"begun\n").expect("the server reads");
    next(&inside);
    handle.shutdown();
    let (served, server) = join_soon(serving);
    served.expect("a shutdown is not an error");
    drop(busy);
    server.server_close();
}

/// Hooks that shut the server down in the hook with this name.
struct ShutsDown(&'static str);

impl ShutsDown {
    fn in_hook(&self, name: &str, server: &ServerHandle) {
        if self.0 == name {
            server.shutdown();
        }
    }
}

impl Hooks for ShutsDown {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.in_hook("verify_request", &request.server);
        Ok(true)
    }

    fn handle_error(&self, request: &mut StreamRequest, _: &RequestError) {
        self.in_hook("handle_error", &request.server);
    }

    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        self.in_hook("service_actions", server);
        Ok(())
    }
}

fn ends_from(hook: &'static str) {
    let builder = TcpServer::builder()
        .hooks(ShutsDown(hook))
        .poll_interval(HOUR);
    let server = builder.bind_fn(ANY, |_| Err("an error for handle_error".into()));
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    let serving = thread::spawn(move || server.serve_forever());
    join_soon(serving).expect("a shutdown is not an error");
    assert_eq!(read_all(client), "");
}

#[test]
fn shutdown_from_verify_request_ends_serving() {
    ends_from("verify_request");
}

#[test]
fn shutdown_from_handle_error_ends_serving() {
    ends_from("handle_error");
}

#[test]
fn shutdown_from_service_actions_ends_serving() {
    ends_from("service_actions");
}

#[test]
fn after_a_shutdown_no_client_is_served() -> io::Result<()> {
    let server = TcpServer::bind_fn(ANY, |_| panic!("no client is served"))?;
    let client = connect(server.server_address());
    server.shutdown();
    server.serve_forever()?;
    server.handle_request()?;
    server.server_close();
    // The kernel closes the connection, because the server has not accepted it.
    let error = (&client).read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    Ok(())
}

#[test]
fn a_second_shutdown_has_no_effect() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, echo_line)?.serve_in_background()?;
    let handle = server.handle();
    assert!(!handle.is_shutting_down());
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                handle.shutdown();
                handle.wait();
                handle.shutdown();
            });
        }
    });
    assert!(handle.is_shutting_down());
    server.stop()
}

#[test]
fn one_of_several_servers_can_be_shut_down() -> io::Result<()> {
    let upper = |request: &mut StreamRequest| -> HandlerResult {
        while request.wait_for_data()? {
            let line = request.rfile.readline(100)?;
            request.wfile.write_all(&line.to_ascii_uppercase())?;
        }
        Ok(())
    };
    let servers: Vec<_> = (0..3)
        .map(|_| ConcurrentTcpServer::bind_fn(ANY, upper)?.serve_in_background())
        .collect::<io::Result<_>>()?;
    let clients: Vec<_> = servers
        .iter()
        .map(|s| connect(s.server_address()))
        .collect();
    for client in &clients {
        assert_eq!(exchange(client, "before\n"), "BEFORE\n");
    }
    let mut servers = servers.into_iter();
    servers.next().expect("there are three servers").stop()?;
    assert_eq!(read_all(&clients[0]), "");
    for client in &clients[1..] {
        assert_eq!(exchange(client, "after\n"), "AFTER\n");
    }
    servers.try_for_each(|server| server.stop())
}

#[test]
fn a_handle_outlives_its_server() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, echo_line)?;
    let (handle, address) = (server.handle(), server.server_address().clone());
    drop(server);
    assert!(handle.is_shutting_down());
    handle.wait();
    handle.shutdown();
    handle.wait();
    assert_eq!(*handle.server_address(), address);
    Ok(())
}
