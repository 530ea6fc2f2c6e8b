//! `pause` and `resume`: new clients wait, and none is lost.

use std::thread;
use std::time::Duration;

use socketserver::dispatch::Dispatch;
use socketserver::prelude::*;
use tempfile::TempDir;

use support::gate::Gate;
use support::kind::{Client, Kind, Talk};
use support::{
    ANY, LONG, connect, eventually, for_all_servers, in_background, join_soon, read_all,
    socket_folder,
};

fn echo<R: Talk>(request: &mut R) -> HandlerResult {
    let question = request.question()?;
    Ok(request.answer(&question)?)
}

fn serve<L: Kind, D: Dispatch + Default>() -> (TempDir, BackgroundServer) {
    let folder = socket_folder();
    let server = Server::<L, D>::bind_fn(L::address(folder.path()), echo).expect("it can be bound");
    let server = server.serve_in_background();
    (folder, server.expect("a thread can be started"))
}

/// A client whose request is on its way.
fn ask<L: Kind>(server: &ServerHandle, question: &str) -> L::Client {
    let mut client = L::connect(server.server_address());
    client.send_line(question);
    client
}

fn clients_wait_until_it_is_resumed<L: Kind, D: Dispatch + Default>() {
    let (_folder, server) = serve::<L, D>();
    for round in 0..3 {
        server.handle().pause();
        assert!(server.handle().is_paused());
        let mut clients: Vec<_> = (0..5)
            .map(|_| ask::<L>(&server.handle(), "early"))
            .collect();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(server.handle().statistics().accepted, round * 6);
        server.handle().resume();
        assert!(!server.handle().is_paused());
        for client in &mut clients {
            assert_eq!(client.receive_line(), "early");
        }
        assert_eq!(ask::<L>(&server.handle(), "late").receive_line(), "late");
    }
}

fn requests_that_run_go_on<L: Kind, D: Dispatch + Default>() {
    let (folder, gate) = (socket_folder(), Gate::default());
    let server = in_background(Server::<L, D>::bind_fn(
        L::address(folder.path()),
        gate.handler(),
    ));
    let mut running = ask::<L>(&server.handle(), "running");
    assert_eq!(gate.next(), "running");
    server.handle().pause();
    let mut waiting = ask::<L>(&server.handle(), "waiting");
    gate.release(2);
    assert_eq!(running.receive_line(), "running");
    eventually("it is done", || server.handle().statistics().finished == 1);
    assert_eq!(server.handle().statistics().accepted, 1);
    server.handle().resume();
    assert_eq!(waiting.receive_line(), "waiting");
}

fn no_client_is_lost_while_it_is_paused_again_and_again<L: Kind, D: Dispatch + Default>() {
    let (_folder, server) = serve::<L, D>();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let handle = server.handle();
            thread::spawn(move || {
                for number in 0..100 {
                    let question = number.to_string();
                    assert_eq!(ask::<L>(&handle, &question).receive_line(), question);
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
    let _waiting = ask::<L>(&server.handle(), "not served");
    let stopping = thread::spawn(move || server.stop());
    join_soon(stopping).expect("it was served well");
}

fn paused_before_it_serves<L: Kind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let place = L::address(folder.path());
    let server = Server::<L, D>::bind_fn(place, echo).expect("it can be bound");
    server.handle().pause();
    let mut client = ask::<L>(&server.handle(), "hello");
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    thread::sleep(Duration::from_millis(20));
    assert_eq!(server.handle().statistics().accepted, 0);
    server.handle().resume();
    assert_eq!(client.receive_line(), "hello");
}

for_all_servers! {
    clients_wait_until_it_is_resumed
    requests_that_run_go_on
    no_client_is_lost_while_it_is_paused_again_and_again
    a_paused_server_can_be_shut_down
    paused_before_it_serves
}

#[test]
fn handle_request_of_a_paused_server_waits_for_its_timeout() {
    let builder = TcpServer::builder().timeout(Duration::from_millis(50));
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?));
    let server = server.expect("a port is free");
    server.handle().pause();
    let client = connect(server.server_address());
    server.handle_request().expect("a timeout is no error");
    assert_eq!(server.handle().statistics().accepted, 0);
    server.handle().resume();
    server.handle_request().expect("a client waits");
    assert_eq!(read_all(client), "hello");
}

#[test]
fn handle_request_sees_that_it_is_resumed() {
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
    join_soon(serving).expect("a client waited");
}
