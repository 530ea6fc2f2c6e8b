//! More datagrams than a slow handler can process.

use std::fs;
use std::net::UdpSocket;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{BackgroundServer, OverloadPolicy};

use crate::exclusive;
use crate::figures::mebibytes;

use support::process::resident;
use support::{ANY, connect_udp, eventually, in_background};

const MAX_THREADS: usize = 64;
const SENDERS: u64 = 2;
const SLOW: Duration = Duration::from_millis(5);
/// The memory in KiB that the flood may use.
const MEMORY: u64 = 64 * 1024;

#[test]
#[ignore = "full size"]
fn datagram_flood() {
    let _exclusive = exclusive();
    for policy in [OverloadPolicy::Wait, OverloadPolicy::Reject] {
        flood(1_000_000, policy);
    }
}

#[test]
fn a_small_datagram_flood() {
    let _exclusive = exclusive();
    for policy in [OverloadPolicy::Wait, OverloadPolicy::Reject] {
        flood(50_000, policy);
    }
}

fn flood(datagrams: u64, policy: OverloadPolicy) {
    let server = ThreadingUdpServer::builder()
        .max_threads(MAX_THREADS)
        .overload(policy)
        .bind_fn(ANY, |_| {
            thread::sleep(SLOW);
            Ok(())
        });
    let server = in_background(server);
    let before = resident(process::id());
    let started = Instant::now();
    let (sent, most) = send(datagrams, &server);
    let took = started.elapsed();
    eventually("all datagrams are accounted for", || {
        server.handle().statistics().accepted + drops(&server) == sent
    });
    let (statistics, dropped) = (server.handle().statistics(), drops(&server));
    let memory = most.saturating_sub(before);
    println!(
        "{policy:?}: {sent} datagrams in {took:.1?}: {} accepted ({} rejected) + {dropped} dropped by the kernel; {} threads and {} of memory more at most",
        statistics.accepted,
        statistics.rejected.total(),
        statistics.peak_threads,
        mebibytes(memory)
    );
    assert!(statistics.peak_threads <= MAX_THREADS, "{statistics:?}");
    assert!(memory < MEMORY, "{memory} KiB");
    eventually("all datagrams are handled", || {
        let statistics = server.handle().statistics();
        statistics.finished + statistics.rejected.total() == statistics.accepted
    });
}

/// The number of sent datagrams, and the peak of the memory in use.
fn send(datagrams: u64, server: &BackgroundServer) -> (u64, u64) {
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let client = connect_udp(server.server_address());
                let sent = &sent;
                scope.spawn(move || send_all(&client, datagrams / SENDERS, sent))
            })
            .collect();
        let mut most = 0;
        while senders.iter().any(|sender| !sender.is_finished()) {
            most = most.max(resident(process::id()));
            thread::sleep(Duration::from_millis(10));
        }
        (sent.load(Ordering::Relaxed), most)
    })
}

fn send_all(client: &UdpSocket, datagrams: u64, sent: &AtomicU64) {
    for _ in 0..datagrams {
        client.send(&[b'.'; 100]).expect("the datagram is sent");
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// The number of datagrams that the kernel dropped because the socket's buffer was full. It is the
/// last column of `/proc/net/udp`.
fn drops(server: &BackgroundServer) -> u64 {
    let port = server
        .server_address()
        .port()
        .expect("the server has a UDP address");
    let local = format!("0100007F:{port:04X}");
    // A line may be missing if other sockets are opened and closed while the table is read.
    let read = |_| {
        let sockets = fs::read_to_string("/proc/net/udp").expect("/proc is readable");
        let mut lines = sockets.lines();
        let line = lines.find(|line| line.split_whitespace().nth(1) == Some(&local))?;
        line.split_whitespace().last()?.parse().ok()
    };
    (0..100).find_map(read).expect("a number")
}
