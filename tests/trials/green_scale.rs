//! How many connections and tasks a green server holds.

use std::fs;
use std::net::TcpStream;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::task;

use crate::clients::{connect_from, connect_unnamed, expect_echo, host};
use crate::exclusive;
use crate::figures::{Delays, mebibytes};
use crate::server::{GREEN, Server};

use support::child::in_child;
use support::process::{allow_descriptors, resident};
use support::{eventually, in_background, socket_path};

/// The descriptors of each process, of which the connections leave some for other things.
const DESCRIPTORS: u64 = 20_000;

/// A time that small trials allow, because they run in parallel with other tests.
const AMPLE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "full size"]
fn nineteen_thousand_connections() {
    let _exclusive = exclusive();
    // Where nothing else runs, the end takes half a second.
    let (delay, end) = (Duration::from_millis(10), Duration::from_secs(3));
    hold_connections(19_000, 8.9, delay, end);
}

#[test]
fn a_thousand_connections() {
    let _exclusive = exclusive();
    hold_connections(1_000, 64.0, AMPLE, AMPLE);
}

/// Connections that have exchanged a message and are idle, then other clients, then SIGTERM. `most` is the memory
/// that each connection may take, in KiB.
fn hold_connections(count: usize, most: f64, delay: Duration, end: Duration) {
    allow_descriptors(count as u64 + 500);
    let limit = format!("-n {}", DESCRIPTORS.min(count as u64 + 500));
    let mut server = Server::limited(&limit, &format!("{GREEN} --drain 20"), &[]);
    serve_next(0, &server);
    let (before, started) = (resident(server.pid()), Instant::now());
    let _idle: Vec<_> = (0..count)
        .map(|number| serve_next(number, &server))
        .collect();
    let connected = started.elapsed();
    let memory = resident(server.pid()) - before;
    let mut delays = Delays::default();
    for number in 0..100 {
        let started = Instant::now();
        serve_next(number, &server);
        delays.add(started.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    let idle_for = started.elapsed();
    let memory_later = resident(server.pid()) - before;
    server.terminate();
    let terminated = Instant::now();
    let status = server.ended();
    let took = terminated.elapsed();
    let each = memory as f64 / count as f64;
    println!(
        "{count} connections in {connected:.1?}: {} of memory, {each:.2} KiB each, {:.2} after {idle_for:.1?}; other clients: {}; exit after {took:.2?}",
        mebibytes(memory),
        memory_later as f64 / count as f64,
        delays.describe()
    );
    assert!(status.success(), "{}", server.log());
    assert!(!server.log().contains("by force"), "{}", server.log());
    assert!(each < most, "{each} KiB for each connection");
    assert!(delays.quantile(0.5) < delay, "{}", delays.describe());
    assert!(took < end, "{took:?}");
}

/// A client that has exchanged a message. All clients of 200 numbers have an address of their own.
fn serve_next(number: usize, server: &Server) -> TcpStream {
    let mut client = connect_from(host(number / 200), server.address).expect("the server accepts");
    expect_echo(&mut client, "hello\n").expect("the client is served");
    client
}

/// With a guard that is a mapping of its own, there would be stacks for 32,000 at most (`vm.max_map_count`).
#[test]
#[ignore = "full size: needs Linux 6.13"]
fn a_hundred_thousand_tasks() {
    let _exclusive = exclusive();
    in_child(|| suspend_tasks(100_000, 8.0));
}

#[test]
fn five_thousand_tasks() {
    let _exclusive = exclusive();
    in_child(|| suspend_tasks(5_000, 64.0));
}

/// Datagrams whose handlers wait until they are released: requests without a descriptor each. `most` is the memory
/// that each may take, in KiB.
fn suspend_tasks(count: u64, most: f64) {
    let (_folder, path) = socket_path();
    let (release, released) = task::unbounded::<()>();
    let server = GreenUnixDatagramServer::builder().workers(2);
    let server = in_background(server.bind_fn(&path, move |_| {
        // Fails once the test has dropped the sender.
        let _ = released.recv();
        Ok(())
    }));
    let statistics = || server.handle().statistics();
    let client = connect_unnamed(&path).expect("the socket is bound");
    let (before, started) = (resident(process::id()), Instant::now());
    for _ in 0..count {
        client.send(b"wait").expect("the server reads");
    }
    eventually("all tasks wait", || {
        let waiting = server.handle().tasks().len() as u64;
        waiting + statistics().rejected.dispatch == count
    });
    let began = started.elapsed();
    let memory = resident(process::id()) - before;
    let mappings = mappings();
    let started = Instant::now();
    drop(release);
    eventually("all tasks end", || statistics().active == 0);
    let each = memory as f64 / count as f64;
    let rejected = statistics().rejected.dispatch;
    println!(
        "{count} tasks in {began:.1?}: {} of memory, {each:.2} KiB each, {mappings} mappings, {rejected} without a stack; the others ended in {:.1?}",
        mebibytes(memory),
        started.elapsed()
    );
    assert_eq!((rejected, statistics().finished), (0, count));
    assert!(each < most, "{each} KiB for each task");
}

fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is readable");
    maps.lines().count()
}
