//! In every snapshot of the statistics, `accepted` is the sum of the other counts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{Address, OverloadPolicy, Statistics};

use support::concurrent::ConcurrentTcpServer;
use support::counts::{settled, sum};
use support::handlers::echo_or_fail;
use support::{ANY, connect, reset};

const CLIENTS: usize = 20;
const CONNECTIONS_PER_CLIENT: usize = 60;
const CONNECTIONS: usize = 4;
const QUEUE: usize = 4;
/// All clients have the same IP address. The limit per IP is lower than the sum of the other
/// limits, so that it is reached.
const PER_IP: usize = CONNECTIONS + QUEUE - 1;

/// Hooks that refuse every seventh request.
struct RefuseEverySeventh;

impl Hooks for RefuseEverySeventh {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        Ok(!request.id().is_multiple_of(7))
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {}
}

/// One connection. Its number selects what the client does.
fn connect_once(address: &Address, number: usize) {
    let mut client = connect(address);
    // The server may reject or refuse the client at any time.
    let _ = match number % 5 {
        0 => client.write_all(b"hello\n"),
        1 => client.write_all(b"fail\n"),
        2 => client.write_all(b"panic\n"),
        3 => Ok(()),
        _ => client.write_all(b"half line"),
    };
    if number.is_multiple_of(3) {
        reset(client);
    } else {
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    }
}

/// Fills all connections and the queue with clients that send nothing, until one of them has waited too long in the
/// queue. Returns the number of clients.
fn wait_in_the_queue(server: &ServerHandle) -> usize {
    let mut count = 0;
    while server.statistics().rejected.queue_timeout == 0 {
        let clients = [(); PER_IP].map(|()| connect(server.server_address()));
        thread::sleep(Duration::from_millis(10));
        count += clients.len();
    }
    count
}

/// Checks snapshots until `done` is set. Returns the number of snapshots.
fn check_snapshots(server: &ServerHandle, done: &AtomicBool) -> usize {
    let (mut snapshots, mut before) = (0, Statistics::default());
    while !done.load(Ordering::Relaxed) {
        let now = server.statistics();
        assert_eq!(sum(&now), now.accepted, "{now:?}");
        assert!(now.active <= CONNECTIONS && now.queued <= QUEUE, "{now:?}");
        assert!(now.active <= now.peak_active && now.queued <= now.peak_queued);
        assert!(now.accepted >= before.accepted, "{now:?} after {before:?}");
        assert!(now.bytes_in >= before.bytes_in, "{now:?} after {before:?}");
        assert!(
            now.bytes_out >= before.bytes_out,
            "{now:?} after {before:?}"
        );
        (snapshots, before) = (snapshots + 1, now);
    }
    snapshots
}

/// Changes the overload policy until `done` is set.
fn change(server: &ServerHandle, done: &AtomicBool) {
    let timeout = Duration::from_millis(1);
    let queue = OverloadPolicy::Queue {
        length: QUEUE,
        timeout,
    };
    let mut policies = [OverloadPolicy::Wait, queue, OverloadPolicy::Reject]
        .into_iter()
        .cycle();
    while !done.load(Ordering::Relaxed) {
        server.set_overload(policies.next().expect("the iterator is endless"));
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_snapshot_adds_up() -> io::Result<()> {
    let server = ConcurrentTcpServer::builder()
        .hooks(RefuseEverySeventh)
        .max_connections(CONNECTIONS)
        .max_per_ip(PER_IP)
        .bind_fn(ANY, echo_or_fail)?
        .serve_in_background()?;
    let handle = server.handle();
    let done = Arc::new(AtomicBool::new(false));
    let checkers = [spawn_checker(&handle, &done), spawn_checker(&handle, &done)];
    let changer = {
        let (handle, done) = (handle.clone(), Arc::clone(&done));
        thread::spawn(move || change(&handle, &done))
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let address = handle.server_address();
            scope.spawn(move || {
                (0..CONNECTIONS_PER_CLIENT).for_each(|n| connect_once(address, client + n))
            });
        }
    });
    let count = CLIENTS * CONNECTIONS_PER_CLIENT + wait_in_the_queue(&handle);
    done.store(true, Ordering::Relaxed);
    for checker in checkers {
        assert!(checker.join().expect("the counts add up") > 100);
    }
    changer.join().expect("the thread does not panic");
    every_count_is_above_zero(&settled(&handle, count as u64));
    server.stop()?;
    assert_eq!(handle.statistics().threads, 0);
    Ok(())
}

fn spawn_checker(server: &ServerHandle, done: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (server, done) = (server.clone(), Arc::clone(done));
    thread::spawn(move || check_snapshots(&server, &done))
}

/// Checks that the test has covered every outcome.
fn every_count_is_above_zero(s: &Statistics) {
    let rejected = s.rejected;
    for count in [
        s.finished,
        s.failed,
        s.panicked,
        s.disconnected,
        rejected.refused,
        rejected.overload,
        rejected.queue_timeout,
        rejected.per_ip,
    ] {
        assert!(count > 0, "{s:?}");
    }
    assert_eq!(s.peak_active, CONNECTIONS, "{s:?}");
    assert!(s.peak_queued >= PER_IP - CONNECTIONS, "{s:?}");
}
