//! A request's permit, and its place in the count of its IP, are given back however it ends. Errors
//! and panics are in `errors::faults`.

use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Statistics};

use support::{ANY, connect, eventually, in_background, read_all};

/// Does what the client's first line says.
fn respond(request: &mut StreamRequest, kept: &Mutex<Vec<StreamRequest>>) -> HandlerResult {
    match &request.rfile.readline(100)?[..] {
        b"detach\n" => {
            let detached = request.detach();
            kept.lock().expect("nothing panics in here").push(detached);
        }
        b"wait\n" => drop(request.rfile.readline(100)?),
        line => request.wfile.write_all(line)?,
    }
    Ok(())
}

/// A server of one connection at most, and one per IP.
fn serve() -> BackgroundServer {
    let kept = Mutex::default();
    let builder = ThreadingTcpServer::builder()
        .max_connections(1)
        .max_per_ip(1)
        .read_timeout(Duration::from_secs(1));
    in_background(builder.bind_fn(ANY, move |request| respond(request, &kept)))
}

fn send(server: &ServerHandle, line: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    writeln!(client, "{line}").expect("the kernel takes it");
    client
}

/// Everything is given back: the next is served. Returns the counts of the first.
fn the_next_is_served(server: &ServerHandle) -> Statistics {
    eventually("the first has ended", || {
        let now = server.statistics();
        now.accepted > 0 && now.active == 0
    });
    let before = server.statistics();
    assert_eq!(read_all(send(server, "next")), "next\n");
    assert_eq!((before.accepted, before.peak_active), (1, 1));
    before
}

#[test]
fn after_a_request_that_finished() {
    let server = serve();
    assert_eq!(read_all(send(&server.handle(), "hello")), "hello\n");
    assert_eq!(the_next_is_served(&server.handle()).finished, 1);
}

#[test]
fn after_a_request_that_timed_out() {
    let server = serve();
    let _silent = connect(server.server_address());
    assert_eq!(the_next_is_served(&server.handle()).timed_out, 1);
}

#[test]
fn after_a_client_that_reset_its_connection() {
    let server = serve();
    let client = send(&server.handle(), "wait");
    eventually("it is read", || server.handle().statistics().bytes_in == 5);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("it can be set");
    drop(client);
    assert_eq!(the_next_is_served(&server.handle()).disconnected, 1);
}

#[test]
fn after_a_connection_that_was_detached() {
    let server = serve();
    let _kept = send(&server.handle(), "detach");
    assert_eq!(the_next_is_served(&server.handle()).finished, 1);
}
