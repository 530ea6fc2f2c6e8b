//! Servers on 0.0.0.0 and [::]: the reply leaves from the address that the client asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socketserver::dispatch::Inline;
use socketserver::listener::Udp;
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Builder, UdpServer};

use support::{ANY, LONG, connect_udp, in_background};

/// Sends the local address in both ways of replying.
fn tell_address(request: &mut DatagramRequest) -> HandlerResult {
    request.wfile = request.local_address().to_string().into_bytes();
    Ok(request.reply(b"reply")?)
}

fn start(builder: Builder<Udp, Inline>, address: &str) -> (BackgroundServer, u16) {
    let server = in_background(builder.bind_fn(address, tell_address));
    let port = server.server_address().port().expect("an IP address");
    (server, port)
}

/// A connected socket receives only what comes from the address that it is connected to.
fn ask(to: SocketAddr) -> String {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let client = UdpSocket::bind((any, 0)).expect("a port is free");
    client.connect(to).expect("loopback can be connected to");
    client
        .set_read_timeout(Some(LONG))
        .expect("the timeout is not zero");
    client.send(b"?").expect("loopback");
    let mut packet = [0; 100];
    let length = client.recv(&mut packet).expect("the reply arrives");
    assert_eq!(&packet[..length], b"reply");
    let length = client.recv(&mut packet).expect("the reply arrives");
    String::from_utf8_lossy(&packet[..length]).into_owned()
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let (_server, port) = start(UdpServer::builder(), "0.0.0.0:0");
    for host in 1..=4 {
        let address = SocketAddr::from(([127, 0, 0, host], port));
        assert_eq!(ask(address), address.to_string());
    }
}

#[test]
fn an_ipv6_server_has_the_address_too() {
    let (_server, port) = start(UdpServer::builder(), "[::]:0");
    assert_eq!(
        ask((Ipv6Addr::LOCALHOST, port).into()),
        format!("[::1]:{port}")
    );
}

#[test]
fn a_dual_stack_server_has_the_addresses_of_both() {
    let (_server, port) = start(UdpServer::builder().dual_stack(true), "[::]:0");
    assert_eq!(
        ask((Ipv6Addr::LOCALHOST, port).into()),
        format!("[::1]:{port}")
    );
    for host in 1..=3 {
        let address = SocketAddr::from(([127, 0, 0, host], port));
        assert_eq!(ask(address), format!("[::ffff:127.0.0.{host}]:{port}"));
    }
}

#[test]
fn an_adopted_socket_has_the_address_too() {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
    let server = in_background(UdpServer::builder().adopt_fn(socket, tell_address));
    let port = server.server_address().port().expect("an IP address");
    let address = SocketAddr::from(([127, 0, 0, 2], port));
    assert_eq!(ask(address), address.to_string());
}

#[test]
fn a_server_on_one_address_has_that_address() {
    let (server, _) = start(UdpServer::builder(), ANY);
    let address = server
        .server_address()
        .socket_addr()
        .expect("an IP address");
    assert_eq!(ask(address), address.to_string());
}

/// A broadcast cannot be the source of the reply, so the kernel's choice is.
fn broadcast(builder: Builder<Udp, Inline>, address: &str, expected: &str) {
    let (_server, port) = start(builder, address);
    let client = UdpSocket::bind(ANY).expect("a port is free");
    client.set_broadcast(true).expect("the option is set");
    client
        .set_read_timeout(Some(LONG))
        .expect("the timeout is not zero");
    client
        .send_to(b"?", ("127.255.255.255", port))
        .expect("loopback");
    let mut packet = [0; 100];
    let (_, sender) = client.recv_from(&mut packet).expect("the reply arrives");
    assert_eq!(sender, SocketAddr::from(([127, 0, 0, 1], port)));
    let length = client.recv(&mut packet).expect("the reply arrives");
    let text = String::from_utf8_lossy(&packet[..length]);
    assert_eq!(text, format!("{expected}:{port}"));
}

#[test]
fn a_broadcast_is_answered_from_an_address_of_the_interface() {
    broadcast(UdpServer::builder(), "0.0.0.0:0", "127.255.255.255");
    let both = UdpServer::builder().dual_stack(true);
    broadcast(both, "[::]:0", "[::ffff:127.255.255.255]");
}

/// `send_to` is not the reply to one datagram: the kernel chooses the address.
#[test]
fn sending_later_works_on_every_address() {
    let server = in_background(UdpServer::bind_fn("0.0.0.0:0", |request| {
        Ok(request.socket.send_to(b"later", &request.client_address)?)
    }));
    let port = server.server_address().port().expect("an IP address");
    let client = connect_udp(&Address::from(([127, 0, 0, 1], port)));
    client.send(b"?").expect("loopback");
    assert_eq!(client.recv(&mut [0; 10]).expect("the datagram arrives"), 5);
}
