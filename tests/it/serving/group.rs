//! A group of servers is served, and ends, as one.

use std::cell::Cell;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::dispatch::Inline;
use socketserver::listener::{Listener, Tcp, Udp, Unix, UnixDatagram};
use socketserver::prelude::*;
use socketserver::{Address, Dispatch, GroupHandle, Server};
use tempfile::TempDir;

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::gate::Gate;
use support::kind::{Client, Kind, LineRequest};
use support::{ANY, LONG, connect, for_each, join_soon, read_all, socket_folder};

/// Servers of all kinds, and their addresses.
struct Bound {
    group: ServerGroup,
    tcp: Address,
    udp: Address,
    unix: Address,
    datagram: Address,
    _folder: TempDir,
}

/// A handler that sends one message back, unless the message is what ends its server.
fn respond<R: LineRequest>(request: &mut R) -> HandlerResult {
    let message = request.read_message()?;
    match message.as_str() {
        "shut down" => request.server().shutdown(),
        "stop" => request.server().stop_serving(),
        "fail" => request.server().fail(io::Error::other("requested")),
        _ => {}
    }
    Ok(request.write_message(&message)?)
}

fn add<L: Kind, D: Dispatch + Default>(group: &mut ServerGroup, folder: &TempDir) -> Address {
    let name = if L::STREAM { "stream" } else { "datagram" };
    let folder = folder.path().join(name);
    std::fs::create_dir_all(&folder).expect("it can be made");
    let server = Server::<L, D>::bind_fn(L::address(&folder), respond);
    let server = group.add(server.expect("the address is free"));
    server.server_address().clone()
}

fn bind<D: Dispatch + Default>() -> Bound {
    let folder = socket_folder();
    let mut group = ServerGroup::new();
    let tcp = add::<Tcp, D>(&mut group, &folder);
    let udp = add::<Udp, D>(&mut group, &folder);
    let unix = add::<Unix, D>(&mut group, &folder);
    let datagram = add::<UnixDatagram, D>(&mut group, &folder);
    Bound {
        group,
        tcp,
        udp,
        unix,
        datagram,
        _folder: folder,
    }
}

impl Bound {
    /// Sends the same to all servers, and receives it back.
    fn exchange_with_all(addresses: &[Address; 4], text: &str) {
        let [tcp, udp, unix, datagram] = addresses;
        assert_eq!(Tcp::connect(tcp).exchange(text), text);
        assert_eq!(Udp::connect(udp).exchange(text), text);
        assert_eq!(Unix::connect(unix).exchange(text), text);
        assert_eq!(UnixDatagram::connect(datagram).exchange(text), text);
    }

    fn addresses(&self) -> [Address; 4] {
        [&self.tcp, &self.udp, &self.unix, &self.datagram].map(Address::clone)
    }

    fn serve(self) -> (GroupHandle, JoinHandle<(io::Result<()>, Self)>) {
        let handle = self.group.handle();
        let serving = thread::spawn(move || (self.group.serve_forever(), self));
        (handle, serving)
    }
}

/// Each of the four servers ends in turn.
fn all_end_with_each<D: Dispatch + Default>(how: &str, expected: &Result<(), String>) {
    for ending in 0..4 {
        let bound = bind::<D>();
        let addresses = bound.addresses();
        let (handle, serving) = bound.serve();
        Bound::exchange_with_all(&addresses, "hello");
        let [tcp, udp, unix, datagram] = &addresses;
        let answer = match ending {
            0 => Tcp::connect(tcp).exchange(how),
            1 => Udp::connect(udp).exchange(how),
            2 => Unix::connect(unix).exchange(how),
            _ => UnixDatagram::connect(datagram).exchange(how),
        };
        assert_eq!(answer, how);
        let (served, bound) = join_soon(serving);
        assert_eq!(&served.map_err(|error| error.to_string()), expected);
        assert!(handle.servers().iter().all(ServerHandle::is_shutting_down));
        drop(bound);
        // Another test may bind a port as soon as it is free.
        let is_free = || Unix::is_free(unix) && UnixDatagram::is_free(datagram);
        support::eventually("the addresses are free", is_free);
        assert_eq!(handle.statistics().finished, 5);
    }
}

fn all_are_shut_down_with_one<D: Dispatch + Default>() {
    all_end_with_each::<D>("shut down", &Ok(()));
}

fn all_are_shut_down_when_one_fails<D: Dispatch + Default>() {
    all_end_with_each::<D>("fail", &Err("requested".to_owned()));
}

fn all_stop_serving_with_one_and_are_served_again<D: Dispatch + Default>() {
    let mut bound = bind::<D>();
    let addresses = bound.addresses();
    for round in 0..20 {
        let (handle, serving) = bound.serve();
        Bound::exchange_with_all(&addresses, "hello");
        if round % 2 == 0 {
            handle.stop_serving();
            handle.wait();
        } else {
            assert_eq!(Unix::connect(&addresses[2]).exchange("stop"), "stop");
        }
        let served;
        (served, bound) = join_soon(serving);
        served.expect("it is not an error");
        assert!(!handle.servers().iter().any(ServerHandle::is_shutting_down));
    }
}

for_each! { {
        all_are_shut_down_with_one
        all_are_shut_down_when_one_fails
        all_stop_serving_with_one_and_are_served_again
    }
    inline: Inline;
    concurrent: Concurrent;
}

#[test]
fn a_failure_of_one_lets_running_requests_finish() -> io::Result<()> {
    let gate = Gate::default();
    let mut group = ServerGroup::new();
    let slow = group.add(ConcurrentTcpServer::bind_fn(ANY, gate.handler())?);
    let other = group.add(UdpServer::bind_fn(ANY, respond)?);
    let serving = thread::spawn(move || {
        let served = group.serve_forever();
        drop(group);
        served
    });
    let mut client = connect(slow.server_address());
    client.write_all(b"hello\n")?;
    assert_eq!(gate.next(), "hello");
    other.fail(io::Error::other("requested"));
    slow.wait();
    support::eventually("the socket is closed before the request has ended", || {
        TcpStream::connect(slow.server_address()).is_err()
    });
    gate.release(1);
    assert_eq!(read_all(client), "hello\n");
    let error = join_soon(serving).expect_err("one has failed");
    assert_eq!(error.to_string(), "requested");
    Ok(())
}

/// The end of one server does not apply its own time limit to the others.
#[test]
fn the_time_limit_of_a_group_applies_to_all() -> io::Result<()> {
    for _ in 0..10 {
        let gate = Gate::default();
        let mut group = ServerGroup::new();
        for _ in 0..50 {
            group.add(TcpServer::bind_fn(ANY, |_| Ok(()))?);
        }
        let builder = ConcurrentTcpServer::builder().shutdown_timeout(Duration::from_millis(20));
        let slow = group.add(builder.bind_fn(ANY, gate.handler())?);
        let handle = group.handle();
        let serving = thread::spawn(move || group.serve_forever());
        let mut client = connect(slow.server_address());
        client.write_all(b"hello\n")?;
        assert_eq!(gate.next(), "hello");
        let shutting_down = {
            let handle = handle.clone();
            thread::spawn(move || handle.shutdown_within(LONG))
        };
        handle.wait();
        // Longer than the server's own limit.
        thread::sleep(Duration::from_millis(40));
        gate.release(1);
        assert_eq!(read_all(client), "hello\n");
        let report = join_soon(shutting_down);
        assert_eq!((report.forced, report.unfinished), (0, 0));
        join_soon(serving)?;
    }
    Ok(())
}

#[test]
fn another_thread_serves_as_soon_as_serving_has_ended() -> io::Result<()> {
    let mut group = ServerGroup::new();
    group.add(TcpServer::bind_fn(ANY, respond)?);
    group.add(TcpServer::bind_fn(ANY, respond)?);
    let (handle, group) = (group.handle(), Arc::new(group));
    let mut serving = Vec::new();
    for _ in 0..300 {
        let served = Arc::clone(&group);
        serving.push(thread::spawn(move || served.serve_forever()));
        for server in handle.servers() {
            assert_eq!(
                Tcp::connect(server.server_address()).exchange("hello"),
                "hello"
            );
        }
        handle.stop_serving();
        handle.wait();
    }
    for thread in serving {
        join_soon(thread)?;
    }
    Ok(())
}

#[test]
fn a_second_thread_cannot_serve() -> io::Result<()> {
    let mut group = ServerGroup::new();
    let server = group.add(TcpServer::bind_fn(ANY, respond)?);
    let group = Arc::new(group);
    let serving = thread::spawn({
        let group = Arc::clone(&group);
        move || group.serve_forever()
    });
    assert_eq!(Tcp::connect(server.server_address()).exchange("one"), "one");
    let error = group.serve_forever().expect_err("it is served");
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(Tcp::connect(server.server_address()).exchange("two"), "two");
    group.handle().shutdown();
    join_soon(serving)
}

#[test]
fn a_busy_server_does_not_keep_the_others_serving() -> io::Result<()> {
    let gate = Gate::default();
    let mut group = ServerGroup::new();
    let busy = group.add(TcpServer::bind_fn(ANY, gate.handler())?);
    let other = group.add(TcpServer::bind_fn(ANY, respond)?);
    let handle = group.handle();
    let serving = thread::spawn(move || group.serve_forever());
    let mut client = connect(busy.server_address());
    client.write_all(b"hello\n")?;
    assert_eq!(gate.next(), "hello");
    assert_eq!(Tcp::connect(other.server_address()).exchange("one"), "one");
    handle.stop_serving();
    other.wait();
    gate.release(1);
    assert_eq!(read_all(client), "hello\n");
    join_soon(serving)
}

/// A listener whose descriptor cannot be had once the flag is set.
struct Panicking(Tcp, Arc<AtomicBool>);

impl Listener for Panicking {
    type Request = StreamRequest;

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        self.0.accept(server)
    }

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.server_activate()
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_address()
    }
}

impl AsFd for Panicking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        assert!(!self.1.load(Ordering::SeqCst), "requested by the test");
        self.0.as_fd()
    }
}

#[test]
fn all_are_shut_down_when_one_panics() -> io::Result<()> {
    for position in 0..2 {
        let panics = Arc::new(AtomicBool::new(false));
        let socket = std::net::TcpListener::bind(ANY)?;
        let listener = Panicking(socket.into(), Arc::clone(&panics));
        let panicking = Server::<Panicking, Inline>::builder().adopt_fn(listener, |_| Ok(()))?;
        let well = TcpServer::bind_fn(ANY, respond)?;
        let mut group = ServerGroup::new();
        let address = panicking.server_address().clone();
        if position == 0 {
            group.add(panicking);
            group.add(well);
        } else {
            group.add(well);
            group.add(panicking);
        }
        let serving = thread::spawn(move || group.serve_forever());
        panics.store(true, Ordering::SeqCst);
        let _wakes_it = connect(&address);
        let error = join_soon(serving).expect_err("one has panicked");
        assert!(
            error.to_string().contains("requested by the test"),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn all_servers_must_be_active() -> io::Result<()> {
    let mut group = ServerGroup::new();
    group.add(TcpServer::bind_fn(ANY, respond)?);
    let unbound = TcpServer::builder().unbound_fn(ANY, respond)?;
    let unbound = group.add(unbound);
    let error = group.serve_forever().expect_err("one is not bound");
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert!(error.to_string().contains(&unbound.name()), "{error}");
    Ok(())
}

#[test]
fn one_report_for_all() -> io::Result<()> {
    let gate = Gate::default();
    let mut group = ServerGroup::new();
    let folder = socket_folder();
    let path = folder.path().join("server");
    let tcp = group.add(ConcurrentTcpServer::bind_fn(ANY, gate.handler())?);
    group.add(ConcurrentUnixStreamServer::bind_fn(&path, |request| {
        // Ends when its connection is closed by force.
        request.rfile.readline(100)?;
        Ok(())
    })?);
    let handle = group.handle();
    let serving = thread::spawn(move || group.serve_forever());
    let mut drained = connect(tcp.server_address());
    drained.write_all(b"hello\n")?;
    let forced = UnixStream::connect(&path)?;
    (&forced).write_all(b"half a line")?;
    assert_eq!(gate.next(), "hello");
    support::eventually("both run", || handle.statistics().active == 2);
    gate.release(1);
    assert_eq!(read_all(drained), "hello\n");
    support::eventually("one has ended", || handle.statistics().active == 1);
    let report = handle.shutdown_within(Duration::from_millis(50));
    assert_eq!(
        (report.drained, report.forced, report.unfinished),
        (0, 1, 0)
    );
    join_soon(serving)?;
    let statistics = handle.statistics();
    assert_eq!((statistics.accepted, statistics.finished), (2, 1));
    assert_eq!(statistics.disconnected, 1);
    Ok(())
}

#[test]
fn a_group_without_servers_cannot_serve() {
    let error = ServerGroup::new().serve_forever().expect_err("it is empty");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[cfg(feature = "fork")]
#[test]
fn a_forking_server_cannot_be_in_a_group() -> io::Result<()> {
    let mut group = ServerGroup::new();
    group.add(TcpServer::bind_fn(ANY, |_| Ok(()))?);
    let forking = group.add(ForkingTcpServer::bind_fn(ANY, |_| Ok(()))?);
    let error = group
        .serve_forever()
        .expect_err("it would fork beside threads");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains(&forking.name()), "{error}");
    Ok(())
}

fn tcp(address: &str) -> io::Result<ConcurrentTcpServer> {
    ConcurrentTcpServer::bind_fn(address, |_| Ok(()))
}

/// Binds UDP after `failures` failures of this kind; returns how often it was tried.
fn same_port(
    address: &str,
    failures: usize,
    kind: io::ErrorKind,
) -> (usize, io::Result<(ConcurrentTcpServer, UdpServer)>) {
    let tried = Cell::new(0);
    let bound = ServerGroup::same_port(
        || tcp(address),
        |address| {
            tried.set(tried.get() + 1);
            if tried.get() <= failures {
                return Err(kind.into());
            }
            UdpServer::bind_fn(address, |_| Ok(()))
        },
    );
    (tried.get(), bound)
}

#[test]
fn another_port_is_tried_where_any_will_do() {
    let (tried, bound) = same_port(ANY, 3, io::ErrorKind::AddrInUse);
    let (tcp, udp) = bound.expect("the fourth is free");
    assert!(tried >= 4, "{tried}");
    assert_eq!(tcp.server_address(), udp.server_address());
}

#[test]
fn it_gives_up_in_the_end() {
    let (tried, bound) = same_port(ANY, usize::MAX, io::ErrorKind::AddrInUse);
    assert_eq!(tried, 100);
    let error = bound.expect_err("none is free");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn other_errors_and_a_port_of_ones_own_are_not_tried_again() {
    let (tried, bound) = same_port(ANY, 1, io::ErrorKind::PermissionDenied);
    assert!(tried == 1 && bound.is_err());
    let server = tcp(ANY).expect("a port is free");
    let address = server.server_address().to_string();
    drop(server);
    let (tried, bound) = same_port(&address, usize::MAX, io::ErrorKind::AddrInUse);
    assert!(tried <= 1 && bound.is_err());
}

/// Who waits for a group that nobody serves is woken when it ends.
#[test]
fn wait_returns_when_a_group_that_was_not_served_ends() -> io::Result<()> {
    for servers in 0..3 {
        let mut group = ServerGroup::new();
        for _ in 0..servers {
            group.add(TcpServer::bind_fn(ANY, |_| Ok(()))?);
        }
        let handle = group.handle();
        let waiting = thread::spawn(move || handle.wait());
        let ending = thread::spawn(move || drop(group));
        join_soon(waiting);
        join_soon(ending);
    }
    Ok(())
}

/// Two handlers stop serving at the same time, and that is one stop.
#[test]
fn a_late_stop_of_one_server_is_for_the_same_call() -> io::Result<()> {
    let (gate, stop_gate) = (Gate::default(), Gate::default());
    let mut group = ServerGroup::new();
    let stop_twice = {
        let gate = stop_gate.clone();
        move |request: &mut StreamRequest| {
            request.server.stop_serving();
            gate.hold("stopped")?;
            // The accept loop has ended meanwhile.
            request.server.stop_serving();
            Ok(())
        }
    };
    let pool = group.add(ConcurrentTcpServer::bind_fn(ANY, stop_twice)?);
    let inline = group.add(TcpServer::bind_fn(ANY, gate.handler())?);
    let group = Arc::new(group);
    let serve = || {
        let group = Arc::clone(&group);
        thread::spawn(move || group.serve_forever())
    };
    let serving = serve();
    let mut busy = connect(inline.server_address());
    busy.write_all(b"busy\n")?;
    assert_eq!(gate.next(), "busy");
    let stopping = connect(pool.server_address());
    assert_eq!(stop_gate.next(), "stopped");
    pool.wait();
    // The other server is busy, so the group is served still.
    stop_gate.release(1);
    assert_eq!(read_all(stopping), "");
    gate.release(1);
    assert_eq!(read_all(busy), "busy\n");
    join_soon(serving)?;
    let serving = serve();
    let mut client = connect(inline.server_address());
    client.write_all(b"again\n")?;
    assert_eq!(gate.next(), "again");
    assert!(!serving.is_finished());
    gate.release(1);
    assert_eq!(read_all(client), "again\n");
    group.handle().shutdown();
    join_soon(serving)
}
