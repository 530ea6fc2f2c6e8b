//! The statistics add up in every snapshot, whatever the clients do meanwhile.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{Address, OverloadPolicy, Statistics};

use support::counts::{settled, sum};
use support::handlers::echo_or_fail;
use support::{ANY, connect};

const CLIENTS: usize = 20;
const VISITS: usize = 60;
const CONNECTIONS: usize = 4;
const QUEUE: usize = 4;
/// All clients have one IP address: one less than all places, so that this limit is reached too.
const PER_IP: usize = CONNECTIONS + QUEUE - 1;

/// Refuses every seventh.
struct Picky;

impl Hooks for Picky {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        Ok(!request.id().is_multiple_of(7))
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {}
}

/// What one client does; it depends on the number.
fn connect_once(address: &Address, number: usize) {
    let mut client = connect(address);
    // It may be rejected or refused in the middle of it.
    let _ = match number % 5 {
        0 => client.write_all(b"hello\n"),
        1 => client.write_all(b"fail\n"),
        2 => client.write_all(b"panic\n"),
        3 => Ok(()),
        _ => client.write_all(b"half a li"),
    };
    if number.is_multiple_of(3) {
        reset(&client);
    } else {
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read_to_end(&mut Vec::new());
    }
}

fn reset(client: &TcpStream) {
    SockRef::from(client)
        .set_linger(Some(Duration::ZERO))
        .expect("a reset can be asked for");
}

/// Checks snapshots until `over` is set. Returns how many.
fn watch(server: &ServerHandle, over: &AtomicBool) -> usize {
    let (mut looks, mut before) = (0, Statistics::default());
    while !over.load(Ordering::Relaxed) {
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
        (looks, before) = (looks + 1, now);
    }
    looks
}

/// Changes the policy all the time.
fn change(server: &ServerHandle, over: &AtomicBool) {
    let timeout = Duration::from_millis(1);
    let queue = OverloadPolicy::Queue {
        length: QUEUE,
        timeout,
    };
    let mut policies = [OverloadPolicy::Wait, queue, OverloadPolicy::Reject]
        .into_iter()
        .cycle();
    while !over.load(Ordering::Relaxed) {
        server.set_overload(policies.next().expect("they go round"));
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_snapshot_adds_up() -> io::Result<()> {
    let server = ThreadingTcpServer::builder()
        .hooks(Picky)
        .max_connections(CONNECTIONS)
        .max_per_ip(PER_IP)
        .bind_fn(ANY, echo_or_fail)?
        .serve_in_background()?;
    let handle = server.handle();
    let over = Arc::new(AtomicBool::new(false));
    let watchers = [watching(&handle, &over), watching(&handle, &over)];
    let changer = {
        let (handle, over) = (handle.clone(), Arc::clone(&over));
        thread::spawn(move || change(&handle, &over))
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let address = handle.server_address();
            scope.spawn(move || (0..VISITS).for_each(|n| connect_once(address, client + n)));
        }
    });
    over.store(true, Ordering::Relaxed);
    for watcher in watchers {
        assert!(watcher.join().expect("all adds up") > 100);
    }
    changer.join().expect("it does not panic");
    every_count_is_above_zero(&settled(&handle, (CLIENTS * VISITS) as u64));
    server.stop()?;
    assert_eq!(handle.statistics().threads, 0);
    Ok(())
}

fn watching(server: &ServerHandle, over: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (server, over) = (server.clone(), Arc::clone(over));
    thread::spawn(move || watch(&server, &over))
}

/// So the test has seen all kinds of end.
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
