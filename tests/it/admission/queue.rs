//! `OverloadPolicy::Queue`: accepted clients wait in order for a limited time.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, Dispatch, OverloadPolicy, RejectReason};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::gate::Gate;
use support::{ANY, LONG, connect, eventually, in_background, join_soon, read_all};

const SHORT: Duration = Duration::from_millis(100);

/// Hooks that answer rejected clients with the reason.
struct AnswerReason;

impl Hooks for AnswerReason {
    fn reject_request(&self, request: &mut StreamRequest, why: RejectReason) -> HandlerResult {
        Ok(write!(request.wfile, "{why:?}")?)
    }
}

type Limit = fn(Builder<Tcp, Concurrent>) -> Builder<Tcp, Concurrent>;

const ONE_CONNECTION: Limit = |builder| builder.max_connections(1);
const ONE_DISPATCHED: Limit = |builder| builder.dispatch(Concurrent::at_most(1));

fn queue(length: usize, timeout: Duration) -> OverloadPolicy {
    OverloadPolicy::Queue { length, timeout }
}

/// A saturated server, and the client whose request is the only one.
fn saturated(limit: Limit, policy: OverloadPolicy) -> (BackgroundServer, Gate, TcpStream) {
    saturate(limit(ConcurrentTcpServer::builder()), policy)
}

fn saturate(
    builder: Builder<Tcp, impl Dispatch>,
    policy: OverloadPolicy,
) -> (BackgroundServer, Gate, TcpStream) {
    let gate = Gate::default();
    let builder = builder.overload(policy).hooks(AnswerReason);
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    let first = connect_as(&server.handle(), "first");
    assert_eq!(gate.next(), "first");
    (server, gate, first)
}

fn connect_as(server: &ServerHandle, name: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    // The server may reject the client and close the connection before this write.
    let _ = writeln!(client, "{name}");
    client
}

fn queued(server: &ServerHandle, count: usize) {
    eventually("the clients are queued", || {
        server.statistics().queued == count
    });
}

fn queued_clients_are_served_in_order(limit: Limit) {
    let (server, gate, _first) = saturated(limit, queue(10, LONG));
    let names = ["a", "b", "c", "d"];
    let clients = names.map(|name| connect_as(&server.handle(), name));
    queued(&server.handle(), 4);
    for (client, name) in clients.into_iter().zip(names) {
        gate.release(1);
        assert_eq!(gate.next(), name);
        drop(client);
    }
    gate.release(1);
    eventually("all clients are served", || {
        server.handle().statistics().active == 0
    });
    let statistics = server.handle().statistics();
    assert_eq!((statistics.peak_queued, statistics.peak_active), (4, 1));
}

#[test]
fn served_in_order_when_a_connection_ends() {
    queued_clients_are_served_in_order(ONE_CONNECTION);
}

#[test]
fn served_in_order_when_a_thread_becomes_idle() {
    queued_clients_are_served_in_order(ONE_DISPATCHED);
}

fn queued_clients_are_rejected_at_the_timeout(limit: Limit) {
    let (server, gate, first) = saturated(limit, queue(10, SHORT));
    let since = Instant::now();
    let clients = ["a", "b", "c"].map(|name| connect_as(&server.handle(), name));
    for client in clients {
        assert_eq!(read_all(client), "QueueTimeout");
    }
    let took = since.elapsed();
    assert!(took >= SHORT && took < 20 * SHORT, "{took:?}");
    gate.release(1);
    assert_eq!(read_all(first), "first\n");
    assert_eq!(server.handle().statistics().rejected.queue_timeout, 3);
}

#[test]
fn rejected_at_the_timeout_if_no_connection_ends() {
    queued_clients_are_rejected_at_the_timeout(ONE_CONNECTION);
}

#[test]
fn rejected_at_the_timeout_if_no_thread_becomes_idle() {
    queued_clients_are_rejected_at_the_timeout(ONE_DISPATCHED);
}

#[test]
fn clients_beyond_the_queue_wait_in_the_kernel() {
    let (server, gate, _first) = saturated(ONE_CONNECTION, queue(2, LONG));
    let clients = ["a", "b", "c", "d", "e"].map(|name| connect_as(&server.handle(), name));
    queued(&server.handle(), 2);
    gate.release(6);
    for (client, name) in clients.into_iter().zip(["a\n", "b\n", "c\n", "d\n", "e\n"]) {
        assert_eq!(read_all(client), name);
    }
    assert_eq!(server.handle().statistics().peak_queued, 2);
}

#[test]
fn a_queue_of_length_zero_is_the_wait_policy() {
    let (server, gate, _first) = saturated(ONE_CONNECTION, queue(0, Duration::ZERO));
    let client = connect_as(&server.handle(), "a");
    gate.release(2);
    assert_eq!(read_all(client), "a\n");
    assert_eq!(server.handle().statistics().peak_queued, 0);
}

#[test]
fn the_maximum_duration_is_no_timeout() {
    let (server, gate, _first) = saturated(ONE_CONNECTION, queue(1, Duration::MAX));
    let client = connect_as(&server.handle(), "a");
    queued(&server.handle(), 1);
    gate.release(2);
    assert_eq!(read_all(client), "a\n");
}

#[test]
fn queued_clients_are_served_when_the_limit_is_raised() {
    let (server, gate, _first) = saturated(ONE_CONNECTION, queue(5, LONG));
    let _clients = ["a", "b", "c"].map(|name| connect_as(&server.handle(), name));
    queued(&server.handle(), 3);
    server.handle().set_max_connections(3);
    assert_eq!(gate.next_few(2), ["a", "b"]);
    server.handle().set_max_connections(None);
    assert_eq!(gate.next(), "c");
    gate.release(4);
}

#[test]
fn queued_clients_are_served_when_max_threads_is_raised() {
    let builder = ThreadingTcpServer::builder().max_threads(1);
    let (server, gate, _first) = saturate(builder, queue(5, LONG));
    let _clients = ["a", "b"].map(|name| connect_as(&server.handle(), name));
    queued(&server.handle(), 2);
    server.handle().set_max_threads(3);
    assert_eq!(gate.next_few(2), ["a", "b"]);
    gate.release(3);
}

#[test]
fn queued_clients_are_served_after_a_policy_change() {
    let (server, gate, _first) = saturated(ONE_CONNECTION, queue(5, LONG));
    let queued_client = connect_as(&server.handle(), "a");
    queued(&server.handle(), 1);
    server.handle().set_overload(OverloadPolicy::Reject);
    assert_eq!(read_all(connect_as(&server.handle(), "b")), "Overload");
    gate.release(2);
    assert_eq!(read_all(queued_client), "a\n");
}

#[test]
fn queued_clients_are_served_while_paused() {
    let (server, gate, _first) = saturated(ONE_CONNECTION, queue(5, LONG));
    let queued_client = connect_as(&server.handle(), "a");
    queued(&server.handle(), 1);
    server.handle().pause();
    gate.release(2);
    assert_eq!(read_all(queued_client), "a\n");
}

#[test]
fn shutdown_rejects_queued_clients_at_once() {
    let (server, gate, first) = saturated(ONE_CONNECTION, queue(5, LONG));
    let clients = ["a", "b", "c"].map(|name| connect_as(&server.handle(), name));
    queued(&server.handle(), 3);
    server.handle().shutdown();
    for client in clients {
        assert_eq!(read_all(client), "Shutdown");
    }
    gate.release(1);
    assert_eq!(read_all(first), "first\n");
    assert_eq!(server.handle().statistics().rejected.shutdown, 3);
}

#[test]
fn queued_clients_are_rejected_when_serving_ends_and_the_server_stays_open() {
    let gate = Gate::default();
    let builder = ONE_CONNECTION(ConcurrentTcpServer::builder()).overload(queue(5, LONG));
    let server = builder.hooks(AnswerReason).bind_fn(ANY, gate.handler());
    let server = server.expect("a port is free");
    let handle = server.handle();
    thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve_forever());
        let _first = connect_as(&handle, "first");
        assert_eq!(gate.next(), "first");
        let client = connect_as(&handle, "a");
        queued(&handle, 1);
        handle.shutdown();
        assert_eq!(read_all(client), "Shutdown");
        let served = serving.join().expect("no panic");
        served.expect("a shutdown is not an error");
        gate.release(1);
    });
}

#[test]
fn shutdown_within_does_not_wait_for_queued_clients() {
    let (server, _gate, _first) = saturated(ONE_CONNECTION, queue(100, LONG));
    let clients: Vec<_> = (0..100)
        .map(|_| connect_as(&server.handle(), "a"))
        .collect();
    queued(&server.handle(), 100);
    let since = Instant::now();
    let report = server.handle().shutdown_within(20 * SHORT);
    assert_eq!((report.drained, report.unfinished), (0, 1));
    assert!(since.elapsed() < LONG / 2, "{:?}", since.elapsed());
    for client in clients {
        assert_eq!(read_all(client), "Shutdown");
    }
    assert_eq!(server.handle().statistics().rejected.shutdown, 100);
}

#[test]
fn queued_clients_wait_between_calls_of_handle_request() {
    let gate = Gate::default();
    let builder = ONE_CONNECTION(ConcurrentTcpServer::builder()).overload(queue(5, LONG));
    let server = builder.timeout(SHORT).bind_fn(ANY, gate.handler());
    let server = server.expect("a port is free");
    let handle = server.handle();
    let _first = connect_as(&handle, "first");
    server.handle_request().expect("one request is served");
    let client = connect_as(&handle, "a");
    server.handle_request().expect("a timeout is not an error");
    assert_eq!(handle.statistics().queued, 1);
    gate.release(2);
    server.handle_request().expect("one request is served");
    assert_eq!(read_all(client), "a\n");
}

#[test]
fn close_between_calls_of_handle_request_rejects_queued_clients() {
    let gate = Gate::default();
    let builder = ONE_CONNECTION(ConcurrentTcpServer::builder()).overload(queue(5, LONG));
    let server = builder.hooks(AnswerReason).timeout(SHORT);
    let server = server.bind_fn(ANY, gate.handler()).expect("a port is free");
    let _first = connect_as(&server.handle(), "first");
    server.handle_request().expect("one request is served");
    let client = connect_as(&server.handle(), "a");
    server.handle_request().expect("a timeout is not an error");
    gate.release(1);
    let closing = thread::spawn(move || drop(server));
    assert_eq!(read_all(client), "Shutdown");
    join_soon(closing);
}
