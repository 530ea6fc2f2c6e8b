//! A listening socket that others have too, and that a program has prepared itself.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use socketserver::dispatch::Inline;
use socketserver::prelude::*;
use socketserver::{Dispatch, Server};

use support::kind::{Client, Kind, echo_message};
use support::{
    ANY, connect_udp, for_stream_kinds, in_background, join_soon, next, socket_folder, socket_path,
};

/// A duplicate has the same flags: those of the open socket, not of the descriptor.
fn duplicate<L: Kind, D: Dispatch>(server: &Server<L, D>) -> Socket {
    let fd = server.as_fd().try_clone_to_owned();
    fd.expect("a descriptor is free").into()
}

fn make_blocking(socket: &Socket) {
    socket.set_nonblocking(false).expect("the mode can be set");
}

fn a_listener_made_blocking_can_be_shut_down<L: Kind>() {
    let folder = socket_folder();
    let server = Server::<L, Inline>::bind_fn(L::address(folder.path()), echo_message);
    let server = server.expect("the address is free");
    let shared = duplicate(&server);
    make_blocking(&shared);
    let server = in_background(Ok(server));
    for _ in 0..3 {
        let mut client = L::connect(server.server_address());
        assert_eq!(client.exchange("hello"), "hello");
    }
    join_soon(thread::spawn(|| server.stop())).expect("the server has ended");
}

fn a_listener_made_blocking_can_stop_listening<L: Kind>() {
    let folder = socket_folder();
    let server = Server::<L, Inline>::bind_fn(L::address(folder.path()), echo_message);
    let server = server.expect("the address is free");
    let shared = duplicate(&server);
    let server = in_background(Ok(server));
    make_blocking(&shared);
    server.handle().stop_listening();
    join_soon(thread::spawn(|| server.stop())).expect("the server has ended");
}

fn handle_request_keeps_its_timeout<L: Kind>() {
    let folder = socket_folder();
    let builder = Server::<L, Inline>::builder().timeout(Duration::from_millis(30));
    let server = builder.bind_fn(L::address(folder.path()), echo_message);
    let server = server.expect("the address is free");
    make_blocking(&duplicate(&server));
    let served = thread::spawn(move || server.handle_request());
    join_soon(served).expect("a timeout is no error");
}

fn a_connection_is_blocking_and_has_no_timeout<L: Kind<Request = StreamRequest>>() {
    let folder = socket_folder();
    let (report, reports) = channel();
    let server = Server::<L, Inline>::bind_fn(L::address(folder.path()), move |request| {
        let socket = SockRef::from(&*request);
        Ok(report.send((socket.read_timeout()?, socket.nonblocking()?))?)
    });
    let server = in_background(server);
    let _client = L::connect(server.server_address());
    assert_eq!(next(&reports), (None, false));
}

for_stream_kinds! {
    a_listener_made_blocking_can_be_shut_down
    a_listener_made_blocking_can_stop_listening
    handle_request_keeps_its_timeout
    a_connection_is_blocking_and_has_no_timeout
}

#[test]
fn max_packet_size_applies_to_an_adopted_socket() {
    let (report, reports) = channel();
    let socket = UdpSocket::bind(ANY).expect("a port is free");
    let builder = UdpServer::builder().max_packet_size(4);
    let server = in_background(builder.adopt_fn(socket, move |request| {
        Ok(report.send((request.packet.to_vec(), request.truncated))?)
    }));
    let client = connect_udp(server.server_address());
    client.send(b"longer").expect("loopback");
    assert_eq!(next(&reports), (b"long".to_vec(), true));
}

/// How many clients connect before the queue is full.
fn connected(connect: impl Fn() -> io::Result<Socket>) -> usize {
    let connections = std::iter::repeat_with(connect).take(20);
    connections
        .take_while(Result::is_ok)
        .collect::<Vec<_>>()
        .len()
}

#[test]
fn request_queue_size_applies_to_an_adopted_socket() {
    let socket = TcpListener::bind(ANY).expect("a port is free");
    let address = socket.local_addr().expect("the socket is bound");
    let builder = TcpServer::builder().request_queue_size(2);
    let server = builder
        .adopt_fn(socket, |_| Ok(()))
        .expect("it is a TCP socket");
    let timeout = Duration::from_millis(100);
    let connect = || TcpStream::connect_timeout(&address, timeout).map(Socket::from);
    assert!((1..10).contains(&connected(connect)));
    drop(server);

    let (_folder, path) = socket_path();
    let address = SockAddr::unix(&path).expect("the path is short");
    let socket = UnixListener::bind(&path).expect("the path is free");
    let builder = UnixStreamServer::builder().request_queue_size(2);
    let _server = builder
        .adopt_fn(socket, |_| Ok(()))
        .expect("it is a Unix socket");
    let connect = || {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        client.set_nonblocking(true)?;
        client.connect(&address).map(|()| client)
    };
    assert!((1..10).contains(&connected(connect)));
}

/// The program binds the socket of an unbound server through `as_fd`.
fn bound_by_the_program<L: Kind>(requested: &str, address: &SockAddr) {
    let builder = Server::<L, Inline>::builder();
    let server = builder.unbound_fn(requested.to_owned(), echo_message);
    let mut server = server.expect("the address can be used");
    let handle = server.handle();
    let before = server.server_address().clone();
    let socket = SockRef::from(&server);
    socket.bind(address).expect("the address is free");
    let bound = Address::from(socket.local_addr().expect("the socket is bound"));
    assert_ne!(before, bound);
    server.server_activate().expect("the socket is bound");
    assert_eq!(*handle.server_address(), bound);
    assert_eq!(*server.server_address(), bound);
    let server = in_background(Ok(server));
    assert_eq!(L::connect(&bound).exchange("hello"), "hello");
    drop(server);
}

#[test]
fn the_address_is_right_after_the_program_has_bound_the_socket() {
    use socketserver::listener::{Tcp, Udp, Unix, UnixDatagram};
    let any = "127.0.0.1:0".parse::<std::net::SocketAddr>();
    let any = any.expect("the text is an address").into();
    bound_by_the_program::<Tcp>(ANY, &any);
    bound_by_the_program::<Udp>(ANY, &any);
    let folder = socket_folder();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let other = folder.path().join("other").display().to_string();
    let unix = |path| SockAddr::unix(path).expect("the path is short");
    bound_by_the_program::<Unix>(&other, &unix(first));
    bound_by_the_program::<UnixDatagram>(&other, &unix(second));
}

/// Before the activation only `Server::server_address` looks at the socket.
#[test]
fn the_server_knows_the_address_before_it_is_active() {
    let server = TcpServer::builder().unbound_fn(ANY, |_| Ok(()));
    let server = server.expect("the address can be used");
    assert_eq!(server.server_address().port(), Some(0));
    let any = "127.0.0.1:0".parse::<std::net::SocketAddr>();
    let any = any.expect("the text is an address");
    SockRef::from(&server)
        .bind(&any.into())
        .expect("a port is free");
    assert_ne!(server.server_address().port(), Some(0));
    assert_eq!(server.handle().server_address(), server.server_address());
}
