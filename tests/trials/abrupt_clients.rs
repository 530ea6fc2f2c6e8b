//! Clients that reset, half-close, and disconnect in the middle of an answer.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

use crate::behavior::Behavior;
use crate::clients::{connect_from, host};
use crate::exclusive;
use crate::lingering::POLL_DESCRIPTORS;

use support::process::{descriptors, threads_named};
use support::{ANY, eventually, in_background};

const BEHAVIORS: [Behavior; 3] = [
    Behavior::HalfClose,
    Behavior::Reset,
    Behavior::CloseMidWrite,
];
const CLIENTS: usize = 32;

#[test]
#[ignore = "full size"]
fn abrupt_clients() {
    let _exclusive = exclusive();
    abrupt_with_each_dispatcher(10_000);
}

#[test]
fn a_few_abrupt_clients() {
    let _exclusive = exclusive();
    abrupt_with_each_dispatcher(500);
}

fn abrupt_with_each_dispatcher(each: usize) {
    let pool = ThreadingTcpServer::builder()
        .thread_name("abrupt")
        .thread_keep_alive(Duration::from_millis(500));
    abrupt(pool, 0, each);
    #[cfg(feature = "green")]
    abrupt(GreenTcpServer::builder().workers(2), 2, each);
}

fn echo(request: &mut StreamRequest) -> HandlerResult {
    while request.wait_for_data()? {
        let data = request.rfile.fill_buf()?;
        request.wfile.write_all(data)?;
        let echoed = data.len();
        request.rfile.consume(echoed);
    }
    Ok(())
}

/// Connections of mixed behavior, `each` of every behavior. The server has `workers` threads that do not end.
fn abrupt<D: Dispatch>(builder: Builder<Tcp, D>, workers: usize, each: usize) {
    let server = in_background(builder.bind_fn(ANY, echo));
    let before = descriptors(process::id());
    let started = Instant::now();
    let connections = each * BEHAVIORS.len();
    connect_next(connections, &server.handle());
    eventually("all connections are accepted and closed", || {
        let statistics = server.handle().statistics();
        statistics.accepted == connections as u64 && statistics.active == 0
    });
    let took = started.elapsed();
    let statistics = server.handle().statistics();
    println!(
        "{connections} connections in {took:.1?}, {workers} workers: {} finished, {} disconnected, {} failed, {} panicked; {} threads at most",
        statistics.finished,
        statistics.disconnected,
        statistics.failed,
        statistics.panicked,
        statistics.peak_threads
    );
    let ended = statistics.finished + statistics.disconnected;
    assert_eq!(ended, connections as u64, "{statistics:?}");
    assert!(statistics.finished >= each as u64, "{statistics:?}");
    eventually("no descriptor and no thread is leaked", || {
        // Each worker has two.
        descriptors(process::id()) <= before + POLL_DESCRIPTORS + 2 * workers
            && server.handle().statistics().threads == workers
            && threads_named(process::id(), "abrupt-") == 0
    });
}

fn connect_next(connections: usize, server: &ServerHandle) {
    let address = server.server_address().socket_addr();
    let address = address.expect("the server has an IP address");
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let next = &next;
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= connections {
                        break;
                    }
                    let behavior = BEHAVIORS[number % BEHAVIORS.len()];
                    connect_from(host(client), address)
                        .and_then(|stream| behavior.run(stream))
                        .unwrap_or_else(|error| panic!("{behavior:?}: {error}"));
                }
            });
        }
    });
}
