//! A permit, and the place in a source's share, is given back however a request ends.

use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, RejectedCounts, Statistics};

use support::{ANY, connect, eventually, in_background, read_all};

/// What `verify_request` says of the next clients: first to come, first to go.
struct Verify(Receiver<Verdict>);

type Verdict = fn() -> Result<bool, HandlerError>;

impl Hooks for Verify {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.try_recv().map_or(Ok(true), |verdict| verdict())
    }
}

/// Does what the client's first line says.
fn respond(request: &mut StreamRequest, kept: &Mutex<Vec<StreamRequest>>) -> HandlerResult {
    match &request.rfile.readline(100)?[..] {
        b"fail\n" => Err("as asked".into()),
        b"panic\n" => panic!("as asked"),
        b"detach\n" => {
            let detached = request.detach();
            kept.lock().expect("nothing panics in here").push(detached);
            Ok(())
        }
        b"wait\n" => {
            request.rfile.readline(100)?;
            Ok(())
        }
        line => Ok(request.wfile.write_all(line)?),
    }
}

/// A server with room for one.
fn serve() -> (BackgroundServer, Sender<Verdict>) {
    let (verdicts, verify) = unbounded();
    let kept = Mutex::default();
    let builder = ThreadingTcpServer::builder()
        .max_connections(1)
        .max_per_ip(1);
    let builder = builder
        .hooks(Verify(verify))
        .read_timeout(Duration::from_secs(1));
    let server = builder.bind_fn(ANY, move |request| respond(request, &kept));
    (in_background(server), verdicts)
}

fn order(server: &ServerHandle, order: &str) -> TcpStream {
    let mut client = connect(server.server_address());
    // It may be refused before it has spoken.
    let _ = writeln!(client, "{order}");
    client
}

/// Everything is given back: the next is served. Returns the counts of those before.
fn room_for_the_next(server: &ServerHandle) -> Statistics {
    eventually("nobody is there", || {
        let now = server.statistics();
        now.accepted > 0 && now.active == 0
    });
    let before = server.statistics();
    assert_eq!(read_all(order(server, "next")), "next\n");
    assert_eq!(before.accepted, 1);
    assert_eq!(before.peak_active, 1);
    before
}

#[test]
fn after_a_request_that_finished() {
    let (server, _) = serve();
    assert_eq!(read_all(order(&server.handle(), "hello")), "hello\n");
    assert_eq!(room_for_the_next(&server.handle()).finished, 1);
}

#[test]
fn after_a_request_that_failed() {
    let (server, _) = serve();
    assert_eq!(read_all(order(&server.handle(), "fail")), "");
    assert_eq!(room_for_the_next(&server.handle()).failed, 1);
}

#[test]
fn after_a_request_that_panicked() {
    let (server, _) = serve();
    assert_eq!(read_all(order(&server.handle(), "panic")), "");
    assert_eq!(room_for_the_next(&server.handle()).panicked, 1);
}

#[test]
fn after_a_request_that_timed_out() {
    let (server, _) = serve();
    let _silent = connect(server.server_address());
    assert_eq!(room_for_the_next(&server.handle()).timed_out, 1);
}

#[test]
fn after_a_client_that_reset_its_connection() {
    let (server, _) = serve();
    let client = order(&server.handle(), "wait");
    eventually("it is read", || server.handle().statistics().bytes_in == 5);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("it can be set");
    drop(client);
    assert_eq!(room_for_the_next(&server.handle()).disconnected, 1);
}

#[test]
fn after_a_connection_that_was_detached() {
    let (server, _) = serve();
    let _kept = order(&server.handle(), "detach");
    assert_eq!(room_for_the_next(&server.handle()).finished, 1);
}

fn after_a_verdict(verdict: Verdict) {
    let (server, verdicts) = serve();
    verdicts.send(verdict).expect("the server is there");
    assert_eq!(read_all(order(&server.handle(), "hello")), "");
    let before = room_for_the_next(&server.handle());
    let RejectedCounts { refused, .. } = before.rejected;
    assert_eq!((refused, before.rejected.total()), (1, 1));
}

#[test]
fn after_a_request_that_was_refused() {
    after_a_verdict(|| Ok(false));
}

#[test]
fn after_a_verify_request_that_failed() {
    after_a_verdict(|| Err("no verdict".into()));
}

#[test]
fn after_a_verify_request_that_panicked() {
    after_a_verdict(|| panic!("no verdict"));
}
