//! The path of a Unix server: close removes it if it is still the server's, and bind replaces only
//! a stale socket.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::Server;
use socketserver::dispatch::Inline;
use socketserver::listener::Unix;
use socketserver::prelude::*;

use support::kind::{Client, Kind, echo_message};
use support::{for_each, socket_path, stale_socket};

fn bind<L: Kind>(path: &Path) -> io::Result<Server<L, Inline>> {
    Server::bind_fn(path.display().to_string(), echo_message)
}

fn serves<L: Kind>(server: Server<L, Inline>) {
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    assert_eq!(L::connect(server.server_address()).exchange("hi"), "hi");
}

fn is_in_use<L: Kind>(path: &Path, why: &str) {
    let error = bind::<L>(path).expect_err("the path is in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    assert!(message.contains(why), "{message}");
}

fn the_path_is_removed_on_close_and_can_be_bound_again<L: Kind>() {
    let (_folder, path) = socket_path();
    for _ in 0..2 {
        let server = bind::<L>(&path).expect("the path is free");
        assert!(path.exists());
        serves(server);
        assert!(!path.exists());
    }
}

fn close_keeps_the_socket_of_another_server<L: Kind>() {
    let (_folder, path) = socket_path();
    let server = bind::<L>(&path).expect("the path is free");
    fs::remove_file(&path).expect("the temporary folder is writable");
    let successor = bind::<L>(&path).expect("the path is free");
    server.server_close();
    serves(successor);
}

fn close_keeps_a_file_at_the_path<L: Kind>() {
    let (_folder, path) = socket_path();
    let server = bind::<L>(&path).expect("the path is free");
    fs::remove_file(&path).expect("the temporary folder is writable");
    fs::write(&path, "file content").expect("the temporary folder is writable");
    server.server_close();
    assert_eq!(
        fs::read_to_string(&path).expect("the file exists"),
        "file content"
    );
}

fn a_removed_path_is_not_an_error_of_close<L: Kind>() {
    let (_folder, path) = socket_path();
    let server = bind::<L>(&path).expect("the path is free");
    fs::remove_file(&path).expect("the temporary folder is writable");
    server.server_close();
    assert!(!path.exists());
}

fn a_stale_socket_is_replaced<L: Kind>() {
    let (_folder, path) = socket_path();
    stale_socket(&path, L::STREAM);
    assert!(path.exists());
    serves(bind::<L>(&path).expect("the socket is stale"));
}

fn a_socket_in_use_is_an_error_and_is_kept<L: Kind>() {
    let (_folder, path) = socket_path();
    let first = bind::<L>(&path).expect("the path is free");
    let first = first
        .serve_in_background()
        .expect("a thread can be started");
    is_in_use::<L>(&path, "another program");
    assert_eq!(
        L::connect(first.server_address()).exchange("unharmed?"),
        "unharmed?"
    );
}

fn a_file_at_the_path_is_an_error_and_is_kept<L: Kind>() {
    let (_folder, path) = socket_path();
    fs::write(&path, "file content").expect("the temporary folder is writable");
    is_in_use::<L>(&path, "not a socket");
    assert_eq!(
        fs::read_to_string(&path).expect("the file exists"),
        "file content"
    );
}

fn a_symbolic_link_is_an_error_and_is_kept<L: Kind>() {
    let (folder, path) = socket_path();
    let target = folder.path().join("target");
    stale_socket(&target, L::STREAM);
    std::os::unix::fs::symlink(&target, &path).expect("the temporary folder is writable");
    is_in_use::<L>(&path, "not a socket");
    assert!(path.is_symlink() && target.exists());
}

fn a_socket_of_the_other_kind_is_an_error<L: Kind>() {
    let (_folder, path) = socket_path();
    let _other: Box<dyn AsFd> = if L::STREAM {
        Box::new(net::UnixDatagram::bind(&path).expect("the path is free"))
    } else {
        Box::new(net::UnixListener::bind(&path).expect("the path is free"))
    };
    is_in_use::<L>(&path, "another program");
    assert!(path.exists());
}

#[test]
fn a_server_with_a_full_queue_is_in_use() {
    let (_folder, path) = socket_path();
    let address = SockAddr::unix(&path).expect("the path is short");
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor is free");
    busy.bind(&address).expect("the path is free");
    busy.listen(0).expect("the socket is bound");
    let mut queue = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor is free");
        client.set_nonblocking(true).expect("the option is set");
        if client.connect(&address).is_err() {
            break;
        }
        queue.push(client);
    }
    is_in_use::<Unix>(&path, "another program");
}

#[test]
fn close_keeps_the_path_of_an_adopted_socket() {
    let (_folder, path) = socket_path();
    let socket = net::UnixListener::bind(&path).expect("the path is free");
    let server = UnixStreamServer::builder().adopt(socket, || echo_message::<StreamRequest>);
    serves(server.expect("the socket is a stream socket"));
    assert!(path.exists());
}

/// A socket that does not listen yet looks like a stale one. The same server must not replace it.
fn a_second_bind_fails_and_keeps_the_path<L: Kind>() {
    let (_folder, path) = socket_path();
    let place = path.display().to_string();
    let builder = Server::<L, Inline>::builder();
    let server = builder.unbound(place, || echo_message::<L::Request>);
    let mut server = server.expect("the address is a path");
    server.server_bind().expect("the path is free");
    server.server_bind().expect_err("the socket is bound");
    assert!(path.exists());
    server.server_activate().expect("the socket is bound");
    serves(server);
}

for_each! {{
    the_path_is_removed_on_close_and_can_be_bound_again
    close_keeps_the_socket_of_another_server
    close_keeps_a_file_at_the_path
    a_removed_path_is_not_an_error_of_close
    a_stale_socket_is_replaced
    a_socket_in_use_is_an_error_and_is_kept
    a_file_at_the_path_is_an_error_and_is_kept
    a_symbolic_link_is_an_error_and_is_kept
    a_socket_of_the_other_kind_is_an_error
    a_second_bind_fails_and_keeps_the_path
} unix_stream: Unix; unix_datagram: UnixDatagram; }
