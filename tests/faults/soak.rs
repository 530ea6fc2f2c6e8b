//! Mixed churn for minutes, with panics injected: nothing may grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use crate::clients::{connect_from, source};
use crate::figures::{agree, mebibytes, median};
use crate::manners::{BOOM, Manner};
use crate::server::Server;
use crate::support::process::{descriptors, resident, threads};

const CLIENTS: usize = 32;
/// Between two connections of a client.
const PAUSE: Duration = Duration::from_millis(50);

#[test]
#[ignore = "10 minutes"]
fn soak() {
    let _alone = alone();
    let samples = churn(Duration::from_secs(600), Duration::from_secs(10));
    expect_flat(&samples, (120, 180), (540, 600));
}

#[test]
fn a_short_soak() {
    let _alone = alone();
    let samples = churn(Duration::from_secs(3), Duration::from_millis(100));
    expect_flat(&samples, (1, 2), (2, 3));
}

/// What the server had in use at one moment.
struct Sample {
    seconds: f64,
    resident: u64,
    descriptors: u64,
    threads: u64,
}

fn churn(duration: Duration, interval: Duration) -> Vec<Sample> {
    let options = format!("--panic-on {BOOM} --max-connections 200 --read-timeout 5 --deadline 10");
    let mut server = Server::echo(&options);
    let (over, connections) = (AtomicBool::new(false), AtomicU64::new(0));
    let samples = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (over, connections, server) = (&over, &connections, &server);
            scope.spawn(move || come_and_go(client, server, over, connections));
        }
        let samples = watch(&server, duration, interval);
        over.store(true, Ordering::Relaxed);
        samples
    });
    let (log, size) = (server.log(), server.log_size());
    server.terminate();
    assert!(server.ended().success(), "{log}");
    println!(
        "{} connections in {duration:?}, {} panics, log of {} KiB",
        connections.into_inner(),
        log.matches("panicked at").count(),
        size / 1024,
    );
    samples
}

fn come_and_go(client: usize, server: &Server, over: &AtomicBool, connections: &AtomicU64) {
    for manner in Manner::ALL.into_iter().cycle().skip(client) {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let behaved = connect_from(source(client), server.address)
            .and_then(|stream| manner.behave(stream));
        behaved.unwrap_or_else(|error| panic!("{manner:?}: {error}"));
        connections.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

fn watch(server: &Server, duration: Duration, interval: Duration) -> Vec<Sample> {
    let (started, pid) = (Instant::now(), server.pid());
    let mut samples = Vec::new();
    while started.elapsed() < duration {
        thread::sleep(interval);
        // The median of a few looks: connections come and go between two of them.
        let looks: Vec<_> = (0..21)
            .map(|_| {
                thread::sleep(Duration::from_millis(1));
                (descriptors(pid) as u64, threads(pid) as u64)
            })
            .collect();
        let sample = Sample {
            seconds: started.elapsed().as_secs_f64(),
            resident: resident(pid),
            descriptors: median(looks.iter().map(|look| look.0)),
            threads: median(looks.iter().map(|look| look.1)),
        };
        samples.push(sample);
    }
    samples
}

type Seconds = (u32, u32);

fn expect_flat(samples: &[Sample], early: Seconds, late: Seconds) {
    let between = |(from, to): Seconds, what: fn(&Sample) -> u64| {
        let range = f64::from(from)..f64::from(to) + 1.0;
        let chosen = samples.iter().filter(|s| range.contains(&s.seconds));
        median(chosen.map(what))
    };
    let both = |what: fn(&Sample) -> u64| (between(early, what), between(late, what));
    let (memory, sockets, tasks) = (
        both(|s| s.resident),
        both(|s| s.descriptors),
        both(|s| s.threads),
    );
    println!(
        "medians of {early:?} s and {late:?} s: memory {} and {}, descriptors {sockets:?}, threads {tasks:?}",
        mebibytes(memory.0),
        mebibytes(memory.1)
    );
    assert!(agree(memory.0, memory.1, 5, 256), "memory in KiB: {memory:?}");
    assert!(agree(sockets.0, sockets.1, 5, 4), "descriptors: {sockets:?}");
    assert!(agree(tasks.0, tasks.1, 5, 4), "threads: {tasks:?}");
}
