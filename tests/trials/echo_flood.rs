//! The flood seen from outside: `echo_server` at its limit of connections.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use crate::clients::{connect_from, host};
use crate::figures::mebibytes;
use crate::server::Server;

use support::eventually;
use support::process::{cpu_ticks, descriptors, is_asleep, most_resident, threads};

const CLIENTS: usize = 300;
/// How long a client stays once it is served: so the limit is reached.
const STAY: Duration = Duration::from_millis(10);

#[test]
#[ignore = "of full size"]
fn flood_of_the_echo_server() {
    let _alone = alone();
    for policy in ["wait", "reject"] {
        let (server, threads_before) = flood(20_000, policy);
        // Idle threads of the pool end after 10 s; the timer's stays, once there is one.
        eventually("no thread is left over", || {
            threads(server.pid()) <= threads_before + 1
        });
    }
}

#[test]
fn a_small_flood_of_the_echo_server() {
    let _alone = alone();
    for policy in ["wait", "reject"] {
        flood(2_000, policy);
    }
}

/// The server, and how many threads it had at rest.
fn flood(connections: usize, policy: &str) -> (Server, usize) {
    let server = Server::echo(&format!("--max-connections 100 --overload {policy}"));
    // Until it sleeps it may have files open for a moment.
    eventually("the server sleeps", || is_asleep(server.pid()));
    let (at_rest, threads) = (descriptors(server.pid()), threads(server.pid()));
    let started = Instant::now();
    let (served, rejected, most) = connect_next(connections, &server, at_rest);
    let took = started.elapsed();
    println!(
        "{policy}: {connections} connections in {took:.1?}: {served} served, {rejected} answered \"server busy\"; at most {most} descriptors beyond the {} at rest, {} of memory, {:.1} s of processor time",
        at_rest,
        mebibytes(most_resident(server.pid())),
        cpu_ticks(server.pid()) as f64 / 100.0
    );
    assert_eq!(served + rejected, connections);
    assert_eq!(rejected > 0, policy == "reject");
    if policy == "wait" {
        assert!(most <= 100, "{most} descriptors for connections");
    }
    eventually("no descriptor is left over", || {
        descriptors(server.pid()) == at_rest
    });
    assert!(!server.log().contains("panicked"), "{}", server.log());
    (server, threads)
}

/// How many were served and rejected, and the most descriptors in use beyond those at rest.
fn connect_next(connections: usize, server: &Server, at_rest: usize) -> (usize, usize, usize) {
    let (next, served) = <(AtomicUsize, AtomicUsize)>::default();
    let over = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = at_rest;
            while !over.load(Ordering::Relaxed) {
                most = most.max(descriptors(server.pid()));
            }
            most
        });
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (next, served) = (&next, &served);
                scope.spawn(move || {
                    while next.fetch_add(1, Ordering::Relaxed) < connections {
                        let is_served = ask(client, server).expect("an answer in any case");
                        served.fetch_add(usize::from(is_served), Ordering::Relaxed);
                    }
                });
            }
        });
        over.store(true, Ordering::Relaxed);
        watch.join().expect("it does not panic")
    });
    let served = served.into_inner();
    (served, connections - served, most - at_rest)
}

/// Whether it is served; if not, it gets the answer of the rejected.
fn ask(client: usize, server: &Server) -> io::Result<bool> {
    let mut stream = connect_from(host(client), server.address)?;
    stream.write_all(b"hello busy?\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    match &answer {
        b"hello busy?\n" => thread::sleep(STAY),
        b"server busy\n" => return Ok(false),
        other => panic!("an answer without sense: {}", other.escape_ascii()),
    }
    Ok(true)
}
