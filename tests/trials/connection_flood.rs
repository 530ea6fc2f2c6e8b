//! Connections as fast as possible against a limit, under each policy.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{OverloadPolicy, RejectReason, Statistics};

use crate::alone;
use crate::clients::{connect_from, host};
use crate::figures::mebibytes;

use support::process::{descriptors, most_resident, threads_named};
use support::{ANY, eventually, in_background};

/// The most connections that are to be served at once.
const LIMIT: usize = 100;
/// Clients that connect again as soon as they have ended.
const CLIENTS: usize = 300;
/// What serving takes: so the limit is reached, and a queue forms.
const WORK: Duration = Duration::from_millis(10);

const QUEUE: OverloadPolicy = OverloadPolicy::Queue {
    length: 150,
    timeout: Duration::from_millis(15),
};

#[test]
#[ignore = "of full size"]
fn flood() {
    let _alone = alone();
    for policy in [OverloadPolicy::Wait, QUEUE, OverloadPolicy::Reject] {
        flood_with(20_000, policy);
    }
}

#[test]
fn a_small_flood() {
    let _alone = alone();
    for policy in [OverloadPolicy::Wait, QUEUE, OverloadPolicy::Reject] {
        flood_with(2_000, policy);
    }
}

/// Hooks that answer the rejected.
struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(request.wfile.write_all(b"server busy\n")?)
    }
}

fn work(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(100)?;
    thread::sleep(WORK);
    Ok(request.wfile.write_all(&line)?)
}

fn flood_with(connections: usize, policy: OverloadPolicy) {
    let server = ThreadingTcpServer::builder()
        .max_connections(LIMIT)
        .overload(policy)
        .hooks(Busy)
        .thread_name("flood")
        .thread_keep_alive(Duration::from_millis(500))
        .bind_fn(ANY, work);
    let server = in_background(server);
    let address = server.server_address();
    let address = address.socket_addr().expect("an IP address");
    let before = descriptors(process::id());
    let started = Instant::now();
    let (served, rejected) = connect_next(connections, address);
    let took = started.elapsed();
    eventually("all requests are closed", || {
        server.handle().statistics().active == 0
    });
    let statistics = server.handle().statistics();
    println!(
        "{policy:?}: {connections} connections in {took:.1?}: {served} served, {rejected} rejected with bytes; at most {} active, {} queued, {} threads, {} of memory",
        statistics.peak_active,
        statistics.peak_queued,
        statistics.peak_threads,
        mebibytes(most_resident(process::id()))
    );
    check(&statistics, connections, served, rejected);
    eventually("no descriptor and no thread is left over", || {
        let named = |name| threads_named(process::id(), name);
        descriptors(process::id()) == before && named("flood-") + named("reject-") == 0
    });
}

fn check(statistics: &Statistics, connections: usize, served: usize, rejected: usize) {
    assert_eq!(served + rejected, connections);
    assert_eq!(statistics.accepted, connections as u64, "{statistics:?}");
    assert_eq!(statistics.finished, served as u64, "{statistics:?}");
    assert_eq!(
        statistics.rejected.total(),
        rejected as u64,
        "{statistics:?}"
    );
    assert!(statistics.peak_active <= LIMIT, "{statistics:?}");
}

/// How many were served, and how many rejected with the bytes for it.
fn connect_next(connections: usize, address: SocketAddr) -> (usize, usize) {
    let (next, served, rejected) = <(AtomicUsize, AtomicUsize, AtomicUsize)>::default();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (next, served, rejected) = (&next, &served, &rejected);
            scope.spawn(move || {
                while next.fetch_add(1, Ordering::Relaxed) < connections {
                    let answer = ask(client, address).expect("an answer in any case");
                    match &answer[..] {
                        "hello\n" => served.fetch_add(1, Ordering::Relaxed),
                        "server busy\n" => rejected.fetch_add(1, Ordering::Relaxed),
                        other => panic!("an answer without sense: {other:?}"),
                    };
                }
            });
        }
    });
    (served.into_inner(), rejected.into_inner())
}

fn ask(client: usize, address: SocketAddr) -> io::Result<String> {
    let mut stream = connect_from(host(client), address)?;
    stream.write_all(b"hello\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
