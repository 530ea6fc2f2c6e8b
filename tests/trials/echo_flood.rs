//! A connection flood of the example `echo_server`, at its limit of connections.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{connect_from, host};
use crate::figures::mebibytes;
use crate::lingering::POLL_DESCRIPTORS;
use crate::server::{KINDS, Server, workers};
use crate::{exclusive, shared};

use support::eventually;
use support::process::{cpu_ticks, descriptors, is_asleep, peak_resident, threads};

const CLIENTS: usize = 300;
/// The time that a client stays connected after it was served. It is long enough for the limit to
/// be reached.
const STAY: Duration = Duration::from_millis(10);

#[test]
#[ignore = "full size"]
fn flood_of_the_echo_server() {
    let _exclusive = exclusive();
    for (kind, policy) in floods() {
        let (server, threads_before) = flood(20_000, kind, policy);
        // Idle threads of the pool end after 10 s. The timer thread and the linger thread stay.
        eventually("no thread is leaked", || {
            threads(server.pid()) <= threads_before + 2 + workers(kind)
        });
    }
}

#[test]
fn a_small_flood_of_the_echo_server() {
    let _shared = shared();
    for (kind, policy) in floods() {
        flood(2_000, kind, policy);
    }
}

fn floods() -> impl Iterator<Item = (&'static str, &'static str)> {
    let each = |kind: &&'static str| ["wait", "reject"].map(|policy| (*kind, policy));
    KINDS.iter().flat_map(each)
}

/// The server, and the number of its threads before the flood.
fn flood(connections: usize, kind: &str, policy: &str) -> (Server, usize) {
    let options = format!("{kind} --max-connections 100 --overload {policy}");
    let server = Server::echo(&options);
    // The server may open files while it starts.
    eventually("the server sleeps", || is_asleep(server.pid()));
    let (at_rest, threads) = (descriptors(server.pid()), threads(server.pid()));
    let started = Instant::now();
    let (served, rejected, peak) = connect_next(connections, &server, at_rest);
    let took = started.elapsed();
    println!(
        "{options}: {connections} connections in {took:.1?}: {served} served, {rejected} answered \"server busy\"; at most {peak} descriptors beyond the {} at rest, {} of memory, {:.1} s of processor time",
        at_rest,
        mebibytes(peak_resident(server.pid())),
        cpu_ticks(server.pid()) as f64 / 100.0
    );
    assert_eq!(served + rejected, connections);
    assert_eq!(rejected > 0, policy == "reject");
    if policy == "wait" {
        let own = 2 * workers(kind);
        assert!(peak <= 100 + own, "{peak} descriptors for connections");
    }
    eventually("no descriptor is leaked", || {
        descriptors(server.pid()) <= at_rest + POLL_DESCRIPTORS + 2 * workers(kind)
    });
    assert!(!server.log().contains("panicked"), "{}", server.log());
    (server, threads)
}

/// The numbers of served and of rejected clients, and the peak of additional descriptors.
fn connect_next(connections: usize, server: &Server, at_rest: usize) -> (usize, usize, usize) {
    let (next, served) = <(AtomicUsize, AtomicUsize)>::default();
    let done = AtomicBool::new(false);
    let peak = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = at_rest;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(descriptors(server.pid()));
            }
            peak
        });
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (next, served) = (&next, &served);
                scope.spawn(move || {
                    while next.fetch_add(1, Ordering::Relaxed) < connections {
                        let is_served =
                            connect_once(client, server).expect("every client gets an answer");
                        served.fetch_add(usize::from(is_served), Ordering::Relaxed);
                    }
                });
            }
        });
        done.store(true, Ordering::Relaxed);
        sampler.join().expect("the thread does not panic")
    });
    let served = served.into_inner();
    (served, connections - served, peak - at_rest)
}

/// Whether the client is served. If it is not, it gets the answer for rejected clients.
fn connect_once(client: usize, server: &Server) -> io::Result<bool> {
    let mut stream = connect_from(host(client), server.address)?;
    stream.write_all(b"hello busy?\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    match &answer {
        b"hello busy?\n" => thread::sleep(STAY),
        b"server busy\n" => return Ok(false),
        other => panic!("an unexpected answer: {}", other.escape_ascii()),
    }
    Ok(true)
}
