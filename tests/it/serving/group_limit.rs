//! The limit of connections that the servers of a group share.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::prelude::*;
use socketserver::{Address, GroupHandle};

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::gate::Gate;
use support::handlers::echo_line;
use support::kind::{Client, Kind, echo_message};
use support::{ANY, connect, connect_unix, eventually, exchange, join_soon, read_all, socket_path};

fn serve(group: ServerGroup) -> (GroupHandle, JoinHandle<io::Result<()>>) {
    let handle = group.handle();
    (handle, thread::spawn(move || group.serve_forever()))
}

fn stop((handle, serving): (GroupHandle, JoinHandle<io::Result<()>>)) -> io::Result<()> {
    handle.shutdown();
    join_soon(serving)
}

/// A client whose handler waits for the gate.
fn held(address: &Address, gate: &Gate, name: &str) -> io::Result<TcpStream> {
    let mut client = connect(address);
    writeln!(client, "{name}")?;
    assert_eq!(gate.next(), name);
    Ok(client)
}

#[test]
fn a_thousand_clients_of_two_addresses_keep_the_limit() -> io::Result<()> {
    const LIMIT: usize = 10;
    const CLIENTS: usize = 1000;
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut group = ServerGroup::new().max_connections(LIMIT);
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        let server = ConcurrentTcpServer::bind_fn(ANY, move |request| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            peak.fetch_max(now, Ordering::SeqCst);
            let answered = echo_line(request);
            running.fetch_sub(1, Ordering::SeqCst);
            answered
        })?;
        addresses.push(server.server_address().clone());
        group.add(server);
    }
    let serving = serve(group);
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| connect(&addresses[n % 2])).collect();
    // Before a client sends, its handler waits: as many of them as the limit permits.
    eventually("the limit is reached", || {
        running.load(Ordering::SeqCst) == LIMIT
    });
    let statistics = serving.0.statistics();
    assert!(statistics.active <= LIMIT, "{statistics:?}");
    for (number, client) in clients.iter_mut().enumerate() {
        writeln!(client, "{number}")?;
    }
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(read_all(client), format!("{number}\n"));
    }
    assert_eq!(peak.load(Ordering::SeqCst), LIMIT);
    let handle = serving.0.clone();
    stop(serving)?;
    assert_eq!(handle.statistics().finished, CLIENTS as u64);
    Ok(())
}

#[test]
fn a_server_without_clients_leaves_the_limit_to_the_others() -> io::Result<()> {
    let (_folder, path) = socket_path();
    let tcp = ConcurrentTcpServer::bind_fn(ANY, echo_message)?;
    let unix = ConcurrentUnixStreamServer::bind_fn(&path, echo_message)?;
    let (tcp_address, unix_address) = (tcp.server_address().clone(), unix.server_address().clone());
    let mut group = ServerGroup::new().max_connections(1);
    group.add(tcp);
    group.add(unix);
    let serving = serve(group);
    for _ in 0..100 {
        assert_eq!(exchange(connect(&tcp_address), "one\n"), "one\n");
        assert_eq!(exchange(connect_unix(&unix_address), "two\n"), "two\n");
    }
    stop(serving)
}

#[test]
fn datagrams_are_served_at_the_limit_of_connections() -> io::Result<()> {
    let gate = Gate::default();
    let tcp = ConcurrentTcpServer::bind_fn(ANY, gate.handler())?;
    let udp = UdpServer::bind_fn(ANY, echo_message)?;
    let (tcp_address, udp_address) = (tcp.server_address().clone(), udp.server_address().clone());
    let mut group = ServerGroup::new().max_connections(1);
    group.add(tcp);
    group.add(udp);
    let serving = serve(group);
    let first = held(&tcp_address, &gate, "first")?;
    let mut second = connect(&tcp_address);
    second.write_all(b"second\n")?;
    let mut client = socketserver::listener::Udp::connect(&udp_address);
    for _ in 0..10 {
        assert_eq!(client.exchange("hello"), "hello");
    }
    assert!(gate.is_empty(), "the second connection waits");
    gate.release(2);
    assert_eq!([read_all(first), read_all(second)], ["first\n", "second\n"]);
    stop(serving)
}

#[test]
fn a_higher_limit_admits_clients_that_wait() -> io::Result<()> {
    let gate = Gate::default();
    let mut group = ServerGroup::new().max_connections(1);
    let addresses: [_; 2] = std::array::from_fn(|_| {
        let server = ConcurrentTcpServer::bind_fn(ANY, gate.handler());
        let server = group.add(server.expect("a port is free"));
        server.server_address().clone()
    });
    let serving = serve(group);
    let first = held(&addresses[0], &gate, "first")?;
    let mut second = connect(&addresses[1]);
    second.write_all(b"second\n")?;
    serving.0.set_max_connections(2);
    assert_eq!(gate.next(), "second");
    gate.release(2);
    assert_eq!([read_all(first), read_all(second)], ["first\n", "second\n"]);
    stop(serving)
}

#[test]
fn clients_are_rejected_at_the_limit_of_the_group() -> io::Result<()> {
    struct Busy;

    impl Hooks for Busy {
        fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
            Ok(request.wfile.write_all(b"busy")?)
        }
    }

    let gate = Gate::default();
    let mut group = ServerGroup::new().max_connections(1);
    let addresses: [_; 2] = std::array::from_fn(|_| {
        let builder = ConcurrentTcpServer::builder().hooks(Busy);
        let builder = builder.overload(OverloadPolicy::Reject);
        let server = builder.bind_fn(ANY, gate.handler());
        let server = group.add(server.expect("a port is free"));
        server.server_address().clone()
    });
    let serving = serve(group);
    let first = held(&addresses[0], &gate, "first")?;
    assert_eq!(read_all(connect(&addresses[1])), "busy");
    gate.release(1);
    assert_eq!(read_all(first), "first\n");
    stop(serving)
}

/// A server that is awake, and has no clients, takes nothing of the limit.
#[test]
fn nobody_is_rejected_below_the_limit() -> io::Result<()> {
    let mut group = ServerGroup::new().max_connections(1);
    let bind = || {
        let builder = ConcurrentTcpServer::builder().overload(OverloadPolicy::Reject);
        builder.bind_fn(ANY, echo_line)
    };
    let (busy, idle) = (group.add(bind()?), group.add(bind()?));
    let serving = serve(group);
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::SeqCst) {
                idle.set_overload(OverloadPolicy::Reject);
                thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..2000 {
            assert_eq!(
                exchange(connect(busy.server_address()), "hello\n"),
                "hello\n"
            );
            while busy.statistics().active > 0 {
                thread::yield_now();
            }
        }
        ends.store(true, Ordering::SeqCst);
    });
    assert_eq!(serving.0.statistics().rejected.total(), 0);
    stop(serving)
}
