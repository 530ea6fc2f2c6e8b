//! The permit of a request is returned and its IP address is no longer counted, however the request
//! ends. Errors and panics are tested in `errors::faults`.

use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{BackgroundServer, Statistics};

use support::concurrent::ConcurrentTcpServer;
use support::{ANY, connect, eventually, in_background, read_all, reset};

/// Ends in the way that the client's first line names.
fn respond(request: &mut StreamRequest, kept: &Mutex<Vec<StreamRequest>>) -> HandlerResult {
    match &request.rfile.readline(100)?[..] {
        b"detach\n" => {
            let detached = request.detach();
            kept.lock()
                .expect("no thread panics while it holds the lock")
                .push(detached);
        }
        b"wait\n" => drop(request.rfile.readline(100)?),
        line => request.wfile.write_all(line)?,
    }
    Ok(())
}

/// A server with a limit of one connection, and one per IP.
fn serve() -> BackgroundServer {
    let kept = Mutex::default();
    let builder = ConcurrentTcpServer::builder()
        .max_connections(1)
        .max_per_ip(1)
        .read_timeout(Duration::from_secs(1));
    in_background(builder.bind_fn(ANY, move |request| respond(request, &kept)))
}

fn send(server: &ServerHandle, line: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    writeln!(client, "{line}").expect("the kernel buffers it");
    client
}

/// Checks that the next client is served. Returns the statistics after the first request.
fn next_client_is_served(server: &ServerHandle) -> Statistics {
    eventually("the first request has ended", || {
        let now = server.statistics();
        now.accepted > 0 && now.active == 0
    });
    let before = server.statistics();
    assert_eq!(read_all(send(server, "next")), "next\n");
    assert_eq!((before.accepted, before.peak_active), (1, 1));
    before
}

#[test]
fn permit_is_returned_after_a_finished_request() {
    let server = serve();
    assert_eq!(read_all(send(&server.handle(), "hello")), "hello\n");
    assert_eq!(next_client_is_served(&server.handle()).finished, 1);
}

#[test]
fn permit_is_returned_after_a_timeout() {
    let server = serve();
    let _silent = connect(server.server_address());
    assert_eq!(next_client_is_served(&server.handle()).timed_out, 1);
}

#[test]
fn permit_is_returned_after_a_reset_by_the_client() {
    let server = serve();
    let client = send(&server.handle(), "wait");
    eventually("the data is read", || {
        server.handle().statistics().bytes_in == 5
    });
    reset(client);
    assert_eq!(next_client_is_served(&server.handle()).disconnected, 1);
}

#[test]
fn permit_is_returned_after_a_detached_connection() {
    let server = serve();
    let _kept = send(&server.handle(), "detach");
    assert_eq!(next_client_is_served(&server.handle()).finished, 1);
}
