//! `pause` and `resume`: new clients wait in the kernel's queue, and no client is lost.

use std::thread;
use std::time::Duration;

use socketserver::dispatch::Dispatch;
use socketserver::prelude::*;
use tempfile::TempDir;

use support::gate::Gate;
use support::kind::{Client, Kind, echo_message};
use support::logs::Logs;
use support::{
    ANY, LONG, connect, eventually, for_all_servers, in_background, join_soon, read_all,
    socket_folder,
};

fn serve<L: Kind, D: Dispatch + Default>() -> (TempDir, BackgroundServer) {
    let folder = socket_folder();
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), echo_message)
        .expect("the server can be bound");
    let server = server.serve_in_background();
    (folder, server.expect("a thread can be started"))
}

/// A client that has sent a request.
fn send_message<L: Kind>(server: &ServerHandle, message: &str) -> L::Client {
    let mut client = L::connect(server.server_address());
    client.send_line(message);
    client
}

/// Pauses a server, and waits until its accept loop has noticed.
fn pause(server: &ServerHandle) {
    let logs = Logs::from_here();
    server.pause();
    let paused = format!("{}: paused", server.name());
    eventually("the accept loop pauses", || !logs.with(&paused).is_empty());
}

fn new_clients_wait_until_resume<L: Kind, D: Dispatch + Default>() {
    let (_folder, server) = serve::<L, D>();
    for round in 0..3 {
        pause(&server.handle());
        assert!(server.handle().is_paused());
        let mut clients: Vec<_> = (0..5)
            .map(|_| send_message::<L>(&server.handle(), "early"))
            .collect();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(server.handle().statistics().accepted, round * 6);
        server.handle().resume();
        assert!(!server.handle().is_paused());
        for client in &mut clients {
            assert_eq!(client.receive_line(), "early");
        }
        assert_eq!(
            send_message::<L>(&server.handle(), "late").receive_line(),
            "late"
        );
    }
}

fn running_requests_continue<L: Kind, D: Dispatch + Default>() {
    let (folder, gate) = (socket_folder(), Gate::default());
    let server = in_background(Server::<L, D>::bind_fn(
        L::address(folder.path()),
        gate.handler(),
    ));
    let mut running = send_message::<L>(&server.handle(), "running");
    assert_eq!(gate.next(), "running");
    if server.handle().statistics().threads > 0 {
        pause(&server.handle());
    } else {
        // The thread of the accept loop is in the handler.
        server.handle().pause();
    }
    let mut waiting = send_message::<L>(&server.handle(), "waiting");
    gate.release(2);
    assert_eq!(running.receive_line(), "running");
    eventually("the request has finished", || {
        server.handle().statistics().finished == 1
    });
    assert_eq!(server.handle().statistics().accepted, 1);
    server.handle().resume();
    assert_eq!(waiting.receive_line(), "waiting");
}

fn repeated_pauses_lose_no_client<L: Kind, D: Dispatch + Default>() {
    let (_folder, server) = serve::<L, D>();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let handle = server.handle();
            thread::spawn(move || {
                for number in 0..100 {
                    let message = number.to_string();
                    assert_eq!(send_message::<L>(&handle, &message).receive_line(), message);
                }
            })
        })
        .collect();
    while !clients.iter().all(|client| client.is_finished()) {
        server.handle().pause();
        thread::sleep(Duration::from_millis(1));
        server.handle().resume();
        thread::sleep(Duration::from_millis(1));
    }
    clients.into_iter().for_each(join_soon);
    assert_eq!(server.handle().statistics().accepted, 400);
}

fn a_paused_server_can_be_shut_down<L: Kind, D: Dispatch + Default>() {
    let (_folder, server) = serve::<L, D>();
    server.handle().pause();
    let _waiting = send_message::<L>(&server.handle(), "not served");
    let stopping = thread::spawn(move || server.stop());
    join_soon(stopping).expect("serving ends without an error");
}

fn pause_before_serving<L: Kind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let place = L::address(folder.path());
    let server = Server::<L, D>::bind_fn(place, echo_message).expect("the server can be bound");
    server.handle().pause();
    let mut client = send_message::<L>(&server.handle(), "hello");
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    thread::sleep(Duration::from_millis(20));
    assert_eq!(server.handle().statistics().accepted, 0);
    server.handle().resume();
    assert_eq!(client.receive_line(), "hello");
}

for_all_servers! {
    new_clients_wait_until_resume
    running_requests_continue
    repeated_pauses_lose_no_client
    a_paused_server_can_be_shut_down
    pause_before_serving
}

#[test]
fn handle_request_of_a_paused_server_waits_for_its_timeout() {
    let builder = TcpServer::builder().timeout(Duration::from_millis(50));
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?));
    let server = server.expect("a port is free");
    server.handle().pause();
    let client = connect(server.server_address());
    server.handle_request().expect("a timeout is not an error");
    assert_eq!(server.handle().statistics().accepted, 0);
    server.handle().resume();
    server.handle_request().expect("a client is pending");
    assert_eq!(read_all(client), "hello");
}

#[test]
fn resume_wakes_handle_request() {
    let builder = TcpServer::builder().timeout(LONG);
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?));
    let server = server.expect("a port is free");
    let handle = server.handle();
    handle.pause();
    let client = connect(handle.server_address());
    let serving = thread::spawn(move || server.handle_request());
    thread::sleep(Duration::from_millis(20));
    handle.resume();
    assert_eq!(read_all(client), "hello");
    join_soon(serving).expect("a client was pending");
}
