//! Connections that send a byte a second against `max_lifetime`, and a regular client beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::alone;
use crate::clients::{connect_from, expect_echo, host, regular_client};
use crate::dripper::Drippers;
use crate::figures::{Delays, mebibytes};
use crate::server::Server;

use support::process::{cpu_ticks, most_resident, threads};

/// For how many deadlines drippers that have ended connect again.
const ROUNDS: u32 = 5;
/// How long a dripper may outlive its deadline.
const GRACE: Duration = Duration::from_millis(500);
/// The same for small trials, which run beside other tests; without a deadline a dripper does not end.
const AMPLE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "of full size"]
fn drippers_that_all_have_a_thread() {
    let _alone = alone();
    let delays = beside_a_client(2000, Duration::from_secs(3), GRACE, "--max-threads 2500");
    assert!(delays.quantile(0.99) < Duration::from_millis(200));
}

#[test]
fn a_few_drippers_that_all_have_a_thread() {
    let _alone = alone();
    beside_a_client(200, Duration::from_secs(1), AMPLE, "--max-threads 250");
}

#[test]
#[ignore = "of full size: 2 minutes"]
fn drippers_against_few_threads() {
    let _alone = alone();
    in_its_turn(2000, 64, Duration::from_secs(3), GRACE);
}

#[test]
fn a_few_drippers_against_fewer_threads() {
    let _alone = alone();
    in_its_turn(60, 16, Duration::from_secs(1), AMPLE);
}

#[test]
#[ignore = "of full size"]
fn drippers_against_few_threads_with_a_limit_per_ip() {
    let _alone = alone();
    let options = "--max-threads 64 --per-ip 16";
    let delays = beside_a_client(2000, Duration::from_secs(3), GRACE, options);
    assert!(delays.quantile(0.99) < Duration::from_millis(200));
}

#[test]
fn a_few_drippers_with_a_limit_per_ip() {
    let _alone = alone();
    let options = "--max-threads 32 --per-ip 16";
    beside_a_client(200, Duration::from_secs(1), AMPLE, options);
}

/// A client that connects every 50 ms while drippers connect, last until their deadline and connect again.
fn beside_a_client(count: usize, deadline: Duration, grace: Duration, options: &str) -> Delays {
    let options = format!("{options} --deadline {}", deadline.as_secs());
    let server = Server::echo(&options);
    let over = AtomicBool::new(false);
    let (delays, lives, left, peak_threads) = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let go_on = || !over.load(Ordering::Relaxed);
            regular_client(host(1), server.address, go_on).expect("it is served")
        });
        let mut drippers = Drippers::connect(count, server.address);
        drippers.drip(deadline * ROUNDS, true);
        let peak_threads = threads(server.pid());
        drippers.drip(2 * (deadline + grace), false);
        let left = drippers.left();
        over.store(true, Ordering::Relaxed);
        let delays = client.join().expect("the client is served");
        (delays, drippers.lives, left, peak_threads)
    });
    println!(
        "client: {}; drippers: {}; {} of memory at most, {peak_threads} threads, {} s of processor time",
        delays.describe(),
        lives.describe(),
        mebibytes(most_resident(server.pid())),
        cpu_ticks(server.pid()) as f64 / 100.0
    );
    assert_eq!(left, 0, "drippers that stayed");
    assert!(lives.quantile(1.0) < deadline + grace, "a dripper stayed");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    delays
}

/// A client that connects after all drippers, and waits for its turn.
fn in_its_turn(count: usize, max_threads: usize, deadline: Duration, grace: Duration) {
    let options = format!(
        "--max-threads {max_threads} --deadline {}",
        deadline.as_secs()
    );
    let server = Server::echo(&options);
    let turns = u32::try_from(count.div_ceil(max_threads)).expect("a few");
    let patience = (deadline + grace) * (turns + 1);
    let (served_after, lives) = thread::scope(|scope| {
        let mut drippers = Drippers::connect(count, server.address);
        let client = scope.spawn(|| {
            let started = Instant::now();
            let mut client = connect_from(host(1), server.address).expect("it is queued");
            client.set_read_timeout(Some(patience)).expect("not zero");
            expect_echo(&mut client, "hello\n").expect("its turn comes");
            started.elapsed()
        });
        drippers.drip(patience, false);
        (client.join().expect("it is served"), drippers.lives)
    });
    println!(
        "the client behind {count} drippers was served after {served_after:.1?}; drippers from first to last byte: {}; {} of memory at most",
        lives.describe(),
        mebibytes(most_resident(server.pid()))
    );
    assert_eq!(lives.count(), count);
    assert!(lives.quantile(1.0) < deadline + grace, "a dripper stayed");
}
