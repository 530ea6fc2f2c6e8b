//! Connections as fast as possible, against a limit, with each overload policy.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch, OverloadPolicy, RejectReason, Statistics, task};

use crate::clients::{connect_from, host};
use crate::exclusive;
use crate::figures::mebibytes;
use crate::lingering::POLL_DESCRIPTORS;

use support::process::{descriptors, peak_resident, threads_named};
use support::{ANY, eventually, in_background};

/// The limit of connections that are served at once.
const LIMIT: usize = 100;
/// The number of clients. Each connects again as soon as its connection has ended.
const CLIENTS: usize = 300;
/// The time that serving takes. It is long enough for the limit to be reached and a queue to form.
const WORK: Duration = Duration::from_millis(10);

const QUEUE: OverloadPolicy = OverloadPolicy::Queue {
    length: 150,
    timeout: Duration::from_millis(15),
};

#[test]
#[ignore = "full size"]
fn flood() {
    let _exclusive = exclusive();
    flood_with_each_dispatcher(20_000);
}

#[test]
fn a_small_flood() {
    let _exclusive = exclusive();
    flood_with_each_dispatcher(2_000);
}

fn flood_with_each_dispatcher(connections: usize) {
    for policy in [OverloadPolicy::Wait, QUEUE, OverloadPolicy::Reject] {
        let pool = ThreadingTcpServer::builder()
            .thread_name("flood")
            .thread_keep_alive(Duration::from_millis(500));
        flood_with(pool, 0, connections, policy);
        #[cfg(feature = "green")]
        flood_with(GreenTcpServer::builder().workers(2), 2, connections, policy);
    }
}

/// Hooks that answer rejected clients.
struct Busy;

impl Hooks for Busy {
    fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(request.wfile.write_all(b"server busy\n")?)
    }
}

fn work(request: &mut StreamRequest) -> HandlerResult {
    let line = request.rfile.readline(100)?;
    task::sleep(WORK);
    Ok(request.wfile.write_all(&line)?)
}

/// The server has `workers` threads that do not end.
fn flood_with<D: Dispatch>(
    builder: Builder<Tcp, D>,
    workers: usize,
    connections: usize,
    policy: OverloadPolicy,
) {
    let server = builder
        .max_connections(LIMIT)
        .overload(policy)
        .hooks(Busy)
        .bind_fn(ANY, work);
    let server = in_background(server);
    let address = server.server_address();
    let address = address.socket_addr().expect("the server has an IP address");
    let before = descriptors(process::id());
    let started = Instant::now();
    let (served, rejected) = connect_next(connections, address);
    let took = started.elapsed();
    eventually("all requests are closed", || {
        server.handle().statistics().active == 0
    });
    let statistics = server.handle().statistics();
    println!(
        "{policy:?}, {workers} workers: {connections} connections in {took:.1?}: {served} served, {rejected} rejected with bytes; at most {} active, {} queued, {} threads, {} of memory",
        statistics.peak_active,
        statistics.peak_queued,
        statistics.peak_threads,
        mebibytes(peak_resident(process::id()))
    );
    check(&statistics, connections, served, rejected);
    eventually("no descriptor and no thread is leaked", || {
        let named = |name| threads_named(process::id(), name);
        let open = descriptors(process::id());
        // The thread for lingering connections stays. Each worker has two descriptors.
        open <= before + POLL_DESCRIPTORS + 2 * workers
            && server.handle().statistics().threads == workers
            && named("flood-") + named("reject-") == 0
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

/// The numbers of clients that were served, and that were rejected with an answer.
fn connect_next(connections: usize, address: SocketAddr) -> (usize, usize) {
    let (next, served, rejected) = <(AtomicUsize, AtomicUsize, AtomicUsize)>::default();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (next, served, rejected) = (&next, &served, &rejected);
            scope.spawn(move || {
                while next.fetch_add(1, Ordering::Relaxed) < connections {
                    let answer =
                        connect_once(client, address).expect("every client gets an answer");
                    match &answer[..] {
                        "hello\n" => served.fetch_add(1, Ordering::Relaxed),
                        "server busy\n" => rejected.fetch_add(1, Ordering::Relaxed),
                        other => panic!("an unexpected answer: {other:?}"),
                    };
                }
            });
        }
    });
    (served.into_inner(), rejected.into_inner())
}

fn connect_once(client: usize, address: SocketAddr) -> io::Result<String> {
    let mut stream = connect_from(host(client), address)?;
    stream.write_all(b"hello\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
