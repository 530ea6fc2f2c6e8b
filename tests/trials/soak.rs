//! Connections of all kinds for several minutes, with panics. Memory, descriptors and threads must
//! not grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::behavior::{Behavior, PANIC};
use crate::clients::{connect_from, expect_echo, host};
use crate::figures::{agree, mebibytes, median};
use crate::server::{KINDS, Server};
use crate::{exclusive, shared};

use support::process::{descriptors, resident, threads};

/// Clients with one request per connection, and clients with many. Together they are more than the
/// threads, so that all threads are in use.
const SHORT_CLIENTS: usize = 32;
const LONG_CLIENTS: usize = 24;
const MAX_THREADS: usize = 32;
/// The pause between two connections of a short client, and between two requests of a long client.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of requests that a long client makes on one connection.
const STAY: usize = 50;

#[test]
#[ignore = "full size: takes 10 minutes for each kind"]
fn soak() {
    let _exclusive = exclusive();
    for kind in KINDS {
        let samples = run(kind, Duration::from_secs(600), Duration::from_secs(10));
        expect_flat(&samples, (120, 180), 540, 4);
    }
}

#[test]
fn a_short_soak() {
    let _shared = shared();
    for kind in KINDS {
        let samples = run(kind, Duration::from_secs(3), Duration::from_millis(100));
        // Some threads may not have started yet.
        expect_flat(&samples, (1, 2), 2, MAX_THREADS as u64);
    }
}

/// The resources of the server at one moment.
struct Sample {
    seconds: f64,
    resident: u64,
    descriptors: u64,
    threads: u64,
}

fn run(kind: &str, duration: Duration, interval: Duration) -> Vec<Sample> {
    let options = format!(
        "{kind} --panic-on {PANIC} --max-threads {MAX_THREADS} --read-timeout 5 --deadline 10"
    );
    let mut server = Server::echo(&options);
    let (done, connections) = (AtomicBool::new(false), AtomicU64::new(0));
    let samples = thread::scope(|scope| {
        let (done, connections, server) = (&done, &connections, &server);
        for client in 0..SHORT_CLIENTS {
            scope.spawn(move || connect_repeatedly(client, server, done, connections));
        }
        for client in SHORT_CLIENTS..SHORT_CLIENTS + LONG_CLIENTS {
            scope.spawn(move || connect_for_long(client, server, done, connections));
        }
        let samples = watch(server, duration, interval);
        done.store(true, Ordering::Relaxed);
        samples
    });
    let (log, size) = (server.log(), server.log_size());
    server.terminate();
    assert!(server.ended().success(), "{log}");
    println!(
        "{kind}: {} connections in {duration:?}, {} panics, log of {} KiB",
        connections.into_inner(),
        log.matches("panicked at").count(),
        size / 1024,
    );
    samples
}

fn connect_repeatedly(client: usize, server: &Server, done: &AtomicBool, connections: &AtomicU64) {
    for behavior in Behavior::ALL.into_iter().cycle().skip(client) {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let ended =
            connect_from(host(client), server.address).and_then(|stream| behavior.run(stream));
        ended.unwrap_or_else(|error| panic!("{behavior:?}: {error}"));
        connections.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

fn connect_for_long(client: usize, server: &Server, done: &AtomicBool, connections: &AtomicU64) {
    while !done.load(Ordering::Relaxed) {
        let mut stream = connect_from(host(client), server.address).expect("the server accepts");
        for _ in 0..STAY {
            // A deadline in a request is not a fault.
            if done.load(Ordering::Relaxed) || expect_echo(&mut stream, "hello\n").is_err() {
                break;
            }
            thread::sleep(PAUSE);
        }
        connections.fetch_add(1, Ordering::Relaxed);
    }
}

fn watch(server: &Server, duration: Duration, interval: Duration) -> Vec<Sample> {
    let (started, pid) = (Instant::now(), server.pid());
    let mut samples = Vec::new();
    while started.elapsed() < duration {
        thread::sleep(interval / 2);
        // The minimum of many samples, because leaked resources are always in use.
        let counts = (0..20).map(|_| {
            thread::sleep(interval / 40);
            descriptors(pid) as u64
        });
        let sample = Sample {
            seconds: started.elapsed().as_secs_f64(),
            resident: resident(pid),
            descriptors: counts.min().expect("there are samples"),
            threads: threads(pid) as u64,
        };
        samples.push(sample);
    }
    samples
}

/// Checks that the medians of two periods agree within 5 %, or within `slack` descriptors and
/// threads, and half a mebibyte: the allocator keeps some memory that was freed. `early` is in seconds; the second
/// period is from `late` to the end, which may come late on a busy machine.
fn expect_flat(samples: &[Sample], early: (u32, u32), late: u32, slack: u64) {
    let between = |from: u32, to: f64, what: fn(&Sample) -> u64| {
        let range = f64::from(from)..to;
        let chosen = samples.iter().filter(|s| range.contains(&s.seconds));
        let chosen: Vec<_> = chosen.map(what).collect();
        assert!(!chosen.is_empty(), "no sample within {range:?} s");
        median(chosen)
    };
    let both = |what: fn(&Sample) -> u64| {
        let (from, to) = (early.0, f64::from(early.1) + 1.0);
        (between(from, to, what), between(late, f64::INFINITY, what))
    };
    let (memory, sockets, tasks) = (
        both(|s| s.resident),
        both(|s| s.descriptors),
        both(|s| s.threads),
    );
    println!(
        "medians of {early:?} s and from {late} s on: memory {} and {}, descriptors {sockets:?}, threads {tasks:?}",
        mebibytes(memory.0),
        mebibytes(memory.1)
    );
    assert!(
        agree(memory.0, memory.1, 5, 512.max(64 * slack)),
        "memory in KiB: {memory:?}"
    );
    assert!(
        agree(sockets.0, sockets.1, 5, slack),
        "descriptors: {sockets:?}"
    );
    assert!(agree(tasks.0, tasks.1, 5, slack), "threads: {tasks:?}");
}
