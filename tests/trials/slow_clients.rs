//! Connections that send one byte a second, against `max_lifetime`, and a regular client at the
//! same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{connect_from, expect_echo, host, regular_client};
use crate::figures::{Delays, mebibytes};
#[cfg(feature = "green")]
use crate::server::GREEN;
use crate::server::Server;
use crate::slow_client::SlowClients;
use crate::{exclusive, shared};

use support::process::{cpu_ticks, peak_resident, threads};

/// The number of deadlines during which slow clients connect again.
const ROUNDS: u32 = 5;
/// The time that a connection may last beyond its deadline.
const GRACE: Duration = Duration::from_millis(500);
/// The same for small trials, which run in parallel with other tests. Without a deadline a
/// connection would not end.
const AMPLE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "full size"]
fn slow_clients_with_a_thread_each() {
    let _exclusive = exclusive();
    let delays = with_a_regular_client(2000, Duration::from_secs(3), GRACE, "--max-threads 2500");
    assert!(delays.quantile(0.99) < Duration::from_millis(200));
}

#[test]
fn a_few_slow_clients_with_a_thread_each() {
    let _shared = shared();
    with_a_regular_client(200, Duration::from_secs(1), AMPLE, "--max-threads 250");
}

#[cfg(feature = "green")]
#[test]
#[ignore = "full size"]
fn slow_clients_with_a_green_task_each() {
    let _exclusive = exclusive();
    let delays = with_a_regular_client(2000, Duration::from_secs(3), GRACE, GREEN);
    assert!(delays.quantile(0.99) < Duration::from_millis(200));
}

#[cfg(feature = "green")]
#[test]
fn a_few_slow_clients_with_a_green_task_each() {
    let _shared = shared();
    with_a_regular_client(200, Duration::from_secs(1), AMPLE, GREEN);
}

#[test]
#[ignore = "full size: takes 2 minutes"]
fn more_slow_clients_than_threads() {
    let _exclusive = exclusive();
    before_a_regular_client(2000, 64, Duration::from_secs(3), GRACE);
}

#[test]
fn a_few_more_slow_clients_than_threads() {
    let _shared = shared();
    before_a_regular_client(60, 16, Duration::from_secs(1), AMPLE);
}

#[test]
#[ignore = "full size"]
fn more_slow_clients_than_threads_with_a_limit_per_ip() {
    let _exclusive = exclusive();
    let options = "--max-threads 64 --per-ip 16";
    let delays = with_a_regular_client(2000, Duration::from_secs(3), GRACE, options);
    assert!(delays.quantile(0.99) < Duration::from_millis(200));
}

#[test]
fn a_few_slow_clients_with_a_limit_per_ip() {
    let _shared = shared();
    let options = "--max-threads 32 --per-ip 16";
    with_a_regular_client(200, Duration::from_secs(1), AMPLE, options);
}

/// A regular client that connects every 50 ms, while slow clients connect, last until their
/// deadline and connect again.
fn with_a_regular_client(
    count: usize,
    deadline: Duration,
    grace: Duration,
    options: &str,
) -> Delays {
    let options = format!("{options} --deadline {}", deadline.as_secs());
    let server = Server::echo(&options);
    let done = AtomicBool::new(false);
    let (delays, lifetimes, open, peak_threads) = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let is_running = || !done.load(Ordering::Relaxed);
            regular_client(host(1), server.address, is_running).expect("the client is served")
        });
        let mut slow_clients = SlowClients::connect(count, server.address);
        slow_clients.send_slowly(deadline * ROUNDS, true);
        let peak_threads = threads(server.pid());
        slow_clients.send_slowly(2 * (deadline + grace), false);
        let open = slow_clients.open_connections();
        done.store(true, Ordering::Relaxed);
        let delays = client.join().expect("the client is served");
        (delays, slow_clients.lifetimes, open, peak_threads)
    });
    println!(
        "client: {}; slow clients: {}; peak of {} of memory, {peak_threads} threads, {} s of processor time",
        delays.describe(),
        lifetimes.describe(),
        mebibytes(peak_resident(server.pid())),
        cpu_ticks(server.pid()) as f64 / 100.0
    );
    assert_eq!(open, 0, "slow connections that did not end");
    assert!(
        lifetimes.quantile(1.0) < deadline + grace,
        "a slow connection outlived its deadline"
    );
    assert!(!server.log().contains("panicked"), "{}", server.log());
    delays
}

/// A client that connects after all slow clients, and waits until it is served.
fn before_a_regular_client(count: usize, max_threads: usize, deadline: Duration, grace: Duration) {
    let options = format!(
        "--max-threads {max_threads} --deadline {}",
        deadline.as_secs()
    );
    let server = Server::echo(&options);
    let turns = u32::try_from(count.div_ceil(max_threads)).expect("the number fits");
    let timeout = (deadline + grace) * (turns + 1);
    let (served_after, lifetimes) = thread::scope(|scope| {
        let mut slow_clients = SlowClients::connect(count, server.address);
        let client = scope.spawn(|| {
            let started = Instant::now();
            let mut client =
                connect_from(host(1), server.address).expect("the kernel queues the connection");
            client
                .set_read_timeout(Some(timeout))
                .expect("the timeout is not zero");
            expect_echo(&mut client, "hello\n").expect("the client is served");
            started.elapsed()
        });
        slow_clients.send_slowly(timeout, false);
        (
            client.join().expect("the client is served"),
            slow_clients.lifetimes,
        )
    });
    println!(
        "the client after {count} slow clients was served after {served_after:.1?}; slow clients from first to last byte: {}; peak of {} of memory",
        lifetimes.describe(),
        mebibytes(peak_resident(server.pid()))
    );
    assert_eq!(lifetimes.count(), count);
    assert!(
        lifetimes.quantile(1.0) < deadline + grace,
        "a slow connection outlived its deadline"
    );
}
