//! `max_per_ip` limits the connections of each client IP address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socketserver::listener::{Tcp, Udp};
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, OverloadPolicy, RejectReason};

use support::concurrent::{
    Concurrent, ConcurrentTcpServer, ConcurrentUdpServer, ConcurrentUnixStreamServer,
};
use support::gate::Gate;
use support::{
    ANY, LONG, connect_from, connect_unix, eventually, in_background, read_all, socket_path,
};

const IP_1: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IP_2: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

struct AnswerReason;

impl Hooks for AnswerReason {
    fn reject_request(&self, request: &mut StreamRequest, why: RejectReason) -> HandlerResult {
        Ok(write!(request.wfile, "{why:?}")?)
    }
}

fn serve(place: &str, builder: Builder<Tcp, Concurrent>) -> (BackgroundServer, Gate) {
    let gate = Gate::default();
    let server = builder.hooks(AnswerReason).bind_fn(place, gate.handler());
    (in_background(server), gate)
}

fn two_per_ip() -> Builder<Tcp, Concurrent> {
    ConcurrentTcpServer::builder().max_per_ip(2)
}

/// A client with this IP address, which has sent its name.
fn connect_as(server: &ServerHandle, host: IpAddr, name: &str) -> TcpStream {
    let port = server
        .server_address()
        .port()
        .expect("the server has a TCP address");
    let to = match host {
        IpAddr::V4(_) => IP_1,
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let client = connect_from(host, SocketAddr::new(to, port));
    let mut client = client.expect("the server listens");
    // The server may reject the client and close the connection before this write.
    let _ = writeln!(client, "{name}");
    client
}

fn is_rejected(client: TcpStream) {
    assert_eq!(read_all(client), "PerIp");
}

fn wait_until_all_have_ended(server: &ServerHandle) {
    eventually("all requests have ended", || {
        let now = server.statistics();
        (now.active, now.queued) == (0, 0)
    });
}

#[test]
fn one_ip_address_cannot_exceed_its_limit() {
    let (server, gate) = serve(ANY, two_per_ip());
    let clients = ["a", "b"].map(|name| connect_as(&server.handle(), IP_1, name));
    assert_eq!(gate.next_few(2), ["a", "b"]);
    for _ in 0..10 {
        is_rejected(connect_as(&server.handle(), IP_1, "c"));
    }
    let other = connect_as(&server.handle(), IP_2, "d");
    assert_eq!(gate.next(), "d");
    gate.release(3);
    for (client, name) in clients
        .into_iter()
        .chain([other])
        .zip(["a\n", "b\n", "d\n"])
    {
        assert_eq!(read_all(client), name);
    }
    wait_until_all_have_ended(&server.handle());
    assert_eq!(server.handle().statistics().rejected.per_ip, 10);
    gate.release(1);
    assert_eq!(
        read_all(connect_as(&server.handle(), IP_1, "again")),
        "again\n"
    );
}

#[test]
fn queued_connections_count() {
    let policy = OverloadPolicy::Queue {
        length: 10,
        timeout: LONG,
    };
    let builder = two_per_ip().max_connections(1).overload(policy);
    let (server, gate) = serve(ANY, builder);
    let _clients = ["a", "b"].map(|name| connect_as(&server.handle(), IP_1, name));
    eventually("one is queued", || server.handle().statistics().queued == 1);
    is_rejected(connect_as(&server.handle(), IP_1, "c"));
    let _other = connect_as(&server.handle(), IP_2, "d");
    eventually("two are queued", || {
        server.handle().statistics().queued == 2
    });
    gate.release(3);
    wait_until_all_have_ended(&server.handle());
}

#[test]
fn a_connection_does_not_count_after_a_queue_timeout() {
    let timeout = Duration::from_millis(50);
    let policy = OverloadPolicy::Queue {
        length: 10,
        timeout,
    };
    let (server, gate) = serve(ANY, two_per_ip().max_connections(1).overload(policy));
    let _first = connect_as(&server.handle(), IP_1, "a");
    assert_eq!(gate.next(), "a");
    for _ in 0..3 {
        // The server closes a connection a moment after its client has seen the end.
        eventually("the queue timeout", || {
            read_all(connect_as(&server.handle(), IP_1, "b")) == "QueueTimeout"
        });
    }
    gate.release(1);
}

#[test]
fn the_limit_can_be_changed_while_serving() {
    let (server, gate) = serve(ANY, two_per_ip());
    let _clients = ["a", "b"].map(|name| connect_as(&server.handle(), IP_1, name));
    assert_eq!(gate.next_few(2), ["a", "b"]);
    server.handle().set_max_per_ip(3);
    let _third = connect_as(&server.handle(), IP_1, "c");
    assert_eq!(gate.next(), "c");
    is_rejected(connect_as(&server.handle(), IP_1, "d"));
    server.handle().set_max_per_ip(None);
    let _uncounted = connect_as(&server.handle(), IP_1, "e");
    assert_eq!(gate.next(), "e");
    server.handle().set_max_per_ip(1);
    is_rejected(connect_as(&server.handle(), IP_1, "f"));
    gate.release(4);
    wait_until_all_have_ended(&server.handle());
    gate.release(1);
    assert_eq!(read_all(connect_as(&server.handle(), IP_1, "g")), "g\n");
}

#[test]
fn a_limit_of_zero_counts_as_one() {
    let (server, gate) = serve(ANY, ConcurrentTcpServer::builder().max_per_ip(0));
    let _client = connect_as(&server.handle(), IP_1, "a");
    assert_eq!(gate.next(), "a");
    is_rejected(connect_as(&server.handle(), IP_1, "b"));
    gate.release(1);
}

#[test]
fn a_dual_stack_server_counts_ipv4_clients_by_their_own_address() {
    let builder = two_per_ip().dual_stack(true).ipv6_prefix(0);
    let (server, gate) = serve("[::]:0", builder);
    let _clients = ["a", "b"].map(|name| connect_as(&server.handle(), IP_1, name));
    assert_eq!(gate.next_few(2), ["a", "b"]);
    is_rejected(connect_as(&server.handle(), IP_1, "c"));
    let _other = connect_as(&server.handle(), IP_2, "d");
    assert_eq!(gate.next(), "d");
    let six = Ipv6Addr::LOCALHOST.into();
    let _others = ["e", "f"].map(|name| connect_as(&server.handle(), six, name));
    assert_eq!(gate.next_few(2), ["e", "f"]);
    is_rejected(connect_as(&server.handle(), six, "g"));
    gate.release(5);
}

#[test]
fn clients_on_unix_sockets_are_not_counted() {
    let (_folder, path) = socket_path();
    let gate = Gate::default();
    let builder = ConcurrentUnixStreamServer::builder().max_per_ip(1);
    let server = in_background(builder.bind_fn(&path, gate.handler()));
    let _clients = ["a", "b", "c"].map(|name| {
        let mut client = connect_unix(server.server_address());
        writeln!(client, "{name}").expect("the kernel buffers it");
        client
    });
    assert_eq!(gate.next_few(3), ["a", "b", "c"]);
    gate.release(3);
}

#[test]
fn datagrams_are_counted_until_they_are_handled() {
    let gate = Gate::default();
    let builder = ConcurrentUdpServer::builder().max_per_ip(2);
    let server = builder.bind_fn(
        ANY,
        gate.handler::<<Udp as socketserver::Listener>::Request>(),
    );
    let server = in_background(server);
    let send = |from: IpAddr, name: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("the loopback address can be bound");
        let sent = socket.send_to(name.as_bytes(), server.server_address());
        sent.expect("the server is bound");
    };
    for name in ["a", "b", "c"] {
        send(IP_1, name);
    }
    assert_eq!(gate.next_few(2), ["a", "b"]);
    eventually("one is rejected", || {
        server.handle().statistics().rejected.per_ip == 1
    });
    send(IP_2, "d");
    assert_eq!(gate.next(), "d");
    gate.release(3);
}
