//! Servers that bind one Unix path at the same moment: exactly one succeeds, and its path stays.

use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use socketserver::prelude::*;

use crate::{exclusive, shared};

use support::{socket_path, stale_socket};

const RACERS: usize = 8;

#[test]
#[ignore = "full size"]
fn two_binds_at_once() {
    let _exclusive = exclusive();
    race(5_000);
}

#[test]
fn a_few_binds_at_once() {
    let _shared = shared();
    race(100);
}

fn race(rounds: usize) {
    for (what, prepare) in [
        ("free", None),
        ("stale", Some(stale_socket as fn(&Path, bool))),
    ] {
        let (_folder, path) = socket_path();
        let started = Instant::now();
        let failed = (0..rounds).filter(|_| {
            if let Some(prepare) = prepare {
                prepare(&path, true);
            }
            let winners = winners(&path);
            winners.len() != 1 || !path.exists()
        });
        println!(
            "{rounds} rounds of {RACERS} servers on a {what} path: {} without exactly one, in {:.1?}",
            assert_zero(failed.count()),
            started.elapsed()
        );
    }
}

fn winners(path: &Path) -> Vec<UnixStreamServer> {
    let barrier = Barrier::new(RACERS);
    let bind = || {
        barrier.wait();
        UnixStreamServer::bind_fn(path, |_| Ok(())).ok()
    };
    thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(bind)).collect();
        let bound = racers
            .into_iter()
            .filter_map(|racer| racer.join().expect("no panic"));
        bound.collect()
    })
}

fn assert_zero(failed: usize) -> usize {
    assert_eq!(failed, 0, "rounds without exactly one winner");
    failed
}
