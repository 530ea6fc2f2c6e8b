//! `stop_serving`: serving ends, and everything else stays.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use socketserver::prelude::*;
use socketserver::{Dispatch, Server};
use tempfile::TempDir;

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::gate::Gate;
use support::kind::{Client, Kind, LineRequest, StreamKind, echo_message};
use support::{
    ANY, HOUR, connect, exchange, for_all_servers, for_each, join_soon, read_all, socket_folder,
};

/// A server that sends each message back. After `stop` it stops serving.
fn bind<L: Kind, D: Dispatch + Default>() -> (Arc<Server<L, D>>, TempDir) {
    let folder = socket_folder();
    let server = Server::bind_fn(L::address(folder.path()), |request: &mut L::Request| {
        let message = request.read_message()?;
        if message == "stop" {
            request.server().stop_serving();
        }
        Ok(request.write_message(&message)?)
    });
    (Arc::new(server.expect("the address is free")), folder)
}

fn serve<L: Kind, D: Dispatch>(server: &Arc<Server<L, D>>) -> thread::JoinHandle<io::Result<()>> {
    let server = Arc::clone(server);
    thread::spawn(move || server.serve_forever())
}

fn stop<L: Kind, D: Dispatch>(server: &Server<L, D>, serving: thread::JoinHandle<io::Result<()>>) {
    let handle = server.handle();
    handle.stop_serving();
    handle.wait();
    join_soon(serving).expect("it is not an error");
}

fn no_client_is_lost_while_serving_stops_and_begins<L: Kind, D: Dispatch + Default>() {
    const ROUNDS: usize = 1000;
    const CLIENTS: usize = 3;
    let (server, _folder) = bind::<L, D>();
    let (rounds, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ends = AtomicBool::new(false);
    let handle = server.handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::SeqCst) {
                server.serve_forever().expect("it is not an error");
                rounds.fetch_add(1, Ordering::SeqCst);
            }
        });
        let clients = [(); CLIENTS].map(|()| {
            scope.spawn(|| {
                while !ends.load(Ordering::SeqCst) {
                    let answer = L::connect(handle.server_address()).exchange("hello");
                    assert_eq!(answer, "hello");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        });
        for round in 0..ROUNDS {
            handle.stop_serving();
            while rounds.load(Ordering::SeqCst) <= round {
                thread::yield_now();
            }
        }
        ends.store(true, Ordering::SeqCst);
        // The last of them may wait for the server still.
        let clients = clients.map(|client| client.join());
        handle.shutdown();
        assert!(clients.iter().all(Result::is_ok), "each client is answered");
    });
    assert!(answered.load(Ordering::SeqCst) >= CLIENTS);
}

fn clients_wait_for_the_next_time<L: Kind, D: Dispatch + Default>() {
    let (server, _folder) = bind::<L, D>();
    let serving = serve(&server);
    assert_eq!(L::connect(server.server_address()).exchange("one"), "one");
    stop(&server, serving);
    let mut client = L::connect(server.server_address());
    client.send_line("two");
    let serving = serve(&server);
    assert_eq!(client.receive_line(), "two");
    stop(&server, serving);
}

fn a_handler_stops_serving<L: Kind, D: Dispatch + Default>() {
    let (server, _folder) = bind::<L, D>();
    for _ in 0..3 {
        let serving = serve(&server);
        let mut client = L::connect(server.server_address());
        assert_eq!(client.exchange("stop"), "stop");
        join_soon(serving).expect("it is not an error");
    }
    assert!(!server.handle().is_shutting_down());
}

fn serving_ends_at_once_if_it_was_stopped_before<L: Kind, D: Dispatch + Default>() {
    let (server, _folder) = bind::<L, D>();
    server.handle().stop_serving();
    server.handle().stop_serving();
    server.serve_forever().expect("it is not an error");
    server.handle().stop_serving();
    server.handle_request().expect("it is not an error");
    // Each request to stop was for one of them.
    let serving = serve(&server);
    assert_eq!(L::connect(server.server_address()).exchange("hi"), "hi");
    stop(&server, serving);
}

fn handle_request_returns<L: Kind, D: Dispatch + Default>() {
    let (server, _folder) = bind::<L, D>();
    let waiting = {
        let server = Arc::clone(&server);
        thread::spawn(move || server.handle_request())
    };
    stop(&server, waiting);
}

for_all_servers! {
    no_client_is_lost_while_serving_stops_and_begins
    clients_wait_for_the_next_time
    a_handler_stops_serving
    serving_ends_at_once_if_it_was_stopped_before
    handle_request_returns
}

/// For servers with threads.
fn connections_go_on<L: StreamKind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), |request| {
        while let Some(line) = request.next_line()? {
            writeln!(request.wfile, "{line}")?;
        }
        Ok(())
    });
    let server = Arc::new(server.expect("the address is free"));
    let serving = serve(&server);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("one"), "one");
    stop(&server, serving);
    assert_eq!(client.exchange("two"), "two");
    assert_eq!(server.handle().statistics().active, 1);
    let serving = serve(&server);
    assert_eq!(client.exchange("three"), "three");
    server.shutdown();
    assert_eq!(client.receive_line(), "");
    join_soon(serving).expect("a shutdown is not an error");
}

for_each! { {connections_go_on}
    concurrent_tcp: Tcp, Concurrent;
    concurrent_unix_stream: Unix, Concurrent;
}

#[test]
fn requests_in_the_pending_queue_stay_there() -> io::Result<()> {
    let gate = Gate::default();
    let builder = ConcurrentTcpServer::builder().dispatch(Concurrent::at_most(1));
    let builder = builder.overload(OverloadPolicy::Queue {
        length: 1,
        timeout: HOUR,
    });
    let server = Arc::new(builder.bind_fn(ANY, gate.handler())?);
    let serving = serve(&server);
    let mut clients = [(); 2].map(|()| connect(server.server_address()));
    clients[0].write_all(b"one\n")?;
    assert_eq!(gate.next(), "one");
    clients[1].write_all(b"two\n")?;
    support::eventually("the second client is in the queue", || {
        server.handle().statistics().queued == 1
    });
    stop(&server, serving);
    assert_eq!(server.handle().statistics().queued, 1);
    gate.release(2);
    let [first, second] = clients;
    assert_eq!(read_all(first), "one\n");
    let serving = serve(&server);
    assert_eq!(read_all(second), "two\n");
    stop(&server, serving);
    Ok(())
}

#[test]
fn a_server_in_the_background_is_closed() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, echo_message)?.serve_in_background()?;
    assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
    server.handle().stop_serving();
    server.join()
}

/// Two threads take turns at serving, and each stop is noticed by who waits for it.
#[test]
fn each_wait_ends_although_another_thread_begins_to_serve() -> io::Result<()> {
    const ROUNDS: usize = 200;
    let server = ConcurrentTcpServer::bind_fn(ANY, echo_message)?;
    let (handle, ends) = (server.handle(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ends.load(Ordering::SeqCst) {
                    if let Err(error) = server.serve_forever() {
                        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            let waiting = handle.clone();
            let waiting = thread::spawn(move || waiting.wait());
            handle.stop_serving();
            while !waiting.is_finished() {
                // It may have begun to wait after the stop.
                handle.stop_serving();
                thread::yield_now();
            }
        }
        ends.store(true, Ordering::SeqCst);
        handle.shutdown();
    });
    Ok(())
}

#[test]
fn wait_returns_after_serving_has_ended_with_an_error() -> io::Result<()> {
    let server = ConcurrentTcpServer::bind_fn(ANY, echo_message)?;
    let handle = server.handle();
    handle.fail(io::Error::other("requested by the test"));
    assert!(server.serve_forever().is_err());
    handle.stop_serving();
    handle.wait();
    server.serve_forever()
}

#[test]
fn wait_returns_between_two_single_requests() -> io::Result<()> {
    let builder = ConcurrentTcpServer::builder().timeout(std::time::Duration::ZERO);
    let server = builder.bind_fn(ANY, echo_message)?;
    server.handle_request()?;
    let handle = server.handle();
    handle.stop_serving();
    handle.wait();
    server.handle_request()
}
