//! `OverloadPolicy::Reject` and `reject_request`: rejected clients get an answer.

use std::net::Shutdown;
use std::time::Instant;

use socketserver::prelude::*;
use socketserver::request::Request;
use socketserver::{OverloadPolicy, RejectReason, Server};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::gate::Gate;
use support::kind::{Client, Kind, LineRequest};
use support::saturated::{SOON, Saturated, connect_as, one};
use support::{connect, eventually, for_all_kinds, in_background, read_all, socket_folder};

fn busy(request: &mut StreamRequest) -> HandlerResult {
    Ok(request.wfile.write_all(b"server busy\n")?)
}

#[test]
fn clients_get_the_answer_at_the_limit_of_connections() {
    let saturated = Saturated::new(OverloadPolicy::Reject, busy);
    for _ in 0..20 {
        assert_eq!(
            read_all(connect(saturated.server.server_address())),
            "server busy\n"
        );
    }
    assert_eq!(saturated.server.handle().statistics().rejected.overload, 20);
    saturated.serves();
}

#[test]
fn clients_get_the_answer_at_the_limit_of_the_dispatcher() {
    let builder = ConcurrentTcpServer::builder().dispatch(Concurrent::at_most(1));
    let saturated = Saturated::with(builder.overload(OverloadPolicy::Reject), busy);
    for _ in 0..20 {
        assert_eq!(
            read_all(connect(saturated.server.server_address())),
            "server busy\n"
        );
    }
    // The dispatcher has capacity a moment after the request has ended.
    saturated.gate.release(1);
    eventually("the dispatcher has capacity", || {
        let client = connect_as(&saturated.server.handle(), "next");
        saturated.gate.release(1);
        read_all(client) == "next\n"
    });
}

#[test]
fn the_answer_arrives_if_the_client_has_sent_data() {
    let saturated = Saturated::new(OverloadPolicy::Reject, busy);
    for bytes in [1, 1_000, 60_000] {
        // The server accepts the connection after all data has arrived.
        saturated.server.handle().pause();
        let mut client = connect(saturated.server.server_address());
        client
            .write_all(&vec![b'x'; bytes])
            .expect("the kernel buffers it");
        saturated.server.handle().resume();
        assert_eq!(read_all(client), "server busy\n");
    }
}

#[test]
fn the_answer_arrives_if_the_client_has_shut_down_its_writes() {
    let saturated = Saturated::new(OverloadPolicy::Reject, busy);
    saturated.server.handle().pause();
    let client = connect_as(&saturated.server.handle(), "hello");
    client
        .shutdown(Shutdown::Write)
        .expect("the socket is connected");
    saturated.server.handle().resume();
    assert_eq!(read_all(client), "server busy\n");
}

#[test]
fn a_long_answer_arrives_in_full() {
    let saturated = Saturated::new(OverloadPolicy::Reject, |request| {
        Ok(request.wfile.write_all(&[b'.'; 1_000_000])?)
    });
    let client = connect(saturated.server.server_address());
    assert_eq!(read_all(client).len(), 1_000_000);
}

#[test]
fn the_hook_may_read_the_request() {
    let saturated = Saturated::new(OverloadPolicy::Reject, |request| {
        let line = request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&line)?)
    });
    assert_eq!(
        read_all(connect_as(&saturated.server.handle(), "Ada")),
        "Ada\n"
    );
}

#[test]
fn a_hook_may_shut_the_server_down() {
    let saturated = Saturated::with(one().overload(OverloadPolicy::Reject), |request| {
        request.server.shutdown();
        busy(request)
    });
    assert_eq!(
        read_all(connect_as(&saturated.server.handle(), "last")),
        "server busy\n"
    );
    saturated.gate.release(1);
    assert_eq!(read_all(saturated.first), "first\n");
    saturated
        .server
        .join()
        .expect("serving ends without an error");
}

/// `shutdown_within` does not wait for the request of the hook that calls it.
#[test]
fn a_hook_may_call_shutdown_within() {
    let saturated = Saturated::with(one().overload(OverloadPolicy::Reject), |request| {
        let report = request.server.shutdown_within(2 * SOON);
        Ok(write!(request.wfile, "{}", report.unfinished)?)
    });
    let client = connect_as(&saturated.server.handle(), "last");
    eventually("the server shuts down", || {
        saturated.server.handle().is_shutting_down()
    });
    saturated.gate.release(1);
    let since = Instant::now();
    let _ = read_all(saturated.first);
    let mut reports = String::new();
    // The hook's time limit of one second may have passed.
    let _ = { client }.read_to_string(&mut reports);
    saturated
        .server
        .stop()
        .expect("serving ends without an error");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

/// Hooks that answer with the reason, for any kind of server.
struct AnswerAll;

impl<R: Request + LineRequest> Hooks<R> for AnswerAll {
    fn reject_request(&self, request: &mut R, why: RejectReason) -> HandlerResult {
        Ok(request.write_message(&why.to_string())?)
    }
}

fn clients_of_every_kind_get_the_answer<L: Kind>() {
    let (folder, gate) = (socket_folder(), Gate::default());
    let builder = Server::<L, Concurrent>::builder().max_connections(1);
    let builder = builder.overload(OverloadPolicy::Reject).hooks(AnswerAll);
    let server = in_background(builder.bind_fn(L::address(folder.path()), gate.handler()));
    let mut first = L::connect(server.server_address());
    first.send_line("first");
    assert_eq!(gate.next(), "first");
    let mut second = L::connect(server.server_address());
    second.begin();
    assert_eq!(second.receive_line(), RejectReason::Overload.to_string());
    gate.release(1);
    assert_eq!(first.receive_line(), "first");
    eventually("the statistics count the rejection", || {
        let now = server.handle().statistics();
        (now.accepted, now.finished, now.rejected.overload) == (2, 1, 1)
    });
}

for_all_kinds! { clients_of_every_kind_get_the_answer }
