//! A Unix server's path: removed when it is closed, if it is still the server's; at bind, only what
//! is in use by no server is replaced.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::dispatch::Inline;
use socketserver::listener::Unix;
use socketserver::prelude::*;
use socketserver::{HandlerResult, Server};

use support::kind::{Client, Kind, Talk};
use support::{for_each, socket_path, stale_socket};

fn echo<R: Talk>(request: &mut R) -> HandlerResult {
    let question = request.question()?;
    Ok(request.answer(&question)?)
}

fn bind<L: Kind>(path: &Path) -> io::Result<Server<L, Inline>> {
    Server::bind_fn(path.display().to_string(), echo)
}

fn serves<L: Kind>(server: Server<L, Inline>) {
    let server = server
        .serve_in_background()
        .expect("a thread can be started");
    assert_eq!(L::connect(server.server_address()).ask("hi"), "hi");
}

fn is_in_use<L: Kind>(path: &Path, why: &str) {
    let error = bind::<L>(path).expect_err("the path is taken");
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

fn a_socket_that_took_the_path_over_is_left_alone<L: Kind>() {
    let (_folder, path) = socket_path();
    let server = bind::<L>(&path).expect("the path is free");
    fs::remove_file(&path).expect("the folder is ours");
    let successor = bind::<L>(&path).expect("the path is free");
    server.server_close();
    serves(successor);
}

fn a_file_that_took_the_path_over_is_left_alone<L: Kind>() {
    let (_folder, path) = socket_path();
    let server = bind::<L>(&path).expect("the path is free");
    fs::remove_file(&path).expect("the folder is ours");
    fs::write(&path, "precious").expect("the folder is ours");
    server.server_close();
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
}

fn a_path_that_was_removed_already_is_no_error<L: Kind>() {
    let (_folder, path) = socket_path();
    let server = bind::<L>(&path).expect("the path is free");
    fs::remove_file(&path).expect("the folder is ours");
    server.server_close();
    assert!(!path.exists());
}

fn the_socket_of_a_killed_server_is_replaced<L: Kind>() {
    let (_folder, path) = socket_path();
    stale_socket(&path, L::STREAM);
    assert!(path.exists());
    serves(bind::<L>(&path).expect("no server listens there"));
}

fn a_socket_that_is_in_use_is_refused_and_not_harmed<L: Kind>() {
    let (_folder, path) = socket_path();
    let first = bind::<L>(&path).expect("the path is free");
    let first = first
        .serve_in_background()
        .expect("a thread can be started");
    is_in_use::<L>(&path, "another program");
    assert_eq!(
        L::connect(first.server_address()).ask("unharmed?"),
        "unharmed?"
    );
}

fn a_file_that_is_no_socket_is_refused_and_not_harmed<L: Kind>() {
    let (_folder, path) = socket_path();
    fs::write(&path, "precious").expect("the folder is ours");
    is_in_use::<L>(&path, "not a socket");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
}

fn a_link_is_refused_and_so_is_what_it_leads_to<L: Kind>() {
    let (folder, path) = socket_path();
    let target = folder.path().join("target");
    stale_socket(&target, L::STREAM);
    std::os::unix::fs::symlink(&target, &path).expect("the folder is ours");
    is_in_use::<L>(&path, "not a socket");
    assert!(path.is_symlink() && target.exists());
}

fn a_socket_of_the_other_kind_is_refused<L: Kind>() {
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
fn a_server_whose_queue_is_full_is_in_use_too() {
    let (_folder, path) = socket_path();
    let address = SockAddr::unix(&path).expect("the path is short");
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).expect("there are descriptors left");
    busy.bind(&address).expect("the path is free");
    busy.listen(0).expect("it is bound");
    let mut queue = Vec::new();
    loop {
        let client =
            Socket::new(Domain::UNIX, Type::STREAM, None).expect("there are descriptors left");
        client.set_nonblocking(true).expect("it can be set");
        if client.connect(&address).is_err() {
            break;
        }
        queue.push(client);
    }
    is_in_use::<Unix>(&path, "another program");
}

#[test]
fn an_adopted_sockets_path_is_left_to_its_owner() {
    let (_folder, path) = socket_path();
    let socket = net::UnixListener::bind(&path).expect("the path is free");
    let server = UnixStreamServer::builder().adopt(socket, || echo::<StreamRequest>);
    serves(server.expect("it is a stream socket"));
    assert!(path.exists());
}

/// Binds again before the socket listens, when it looks like a stale one.
fn binding_a_second_time_fails_and_keeps_the_path<L: Kind>() {
    let (_folder, path) = socket_path();
    let place = path.display().to_string();
    let builder = Server::<L, Inline>::builder();
    let server = builder.unbound(place, || echo::<L::Request>);
    let mut server = server.expect("it is a path");
    server.server_bind().expect("the path is free");
    server.server_bind().expect_err("it is bound");
    assert!(path.exists());
    server.server_activate().expect("it is bound");
    serves(server);
}

for_each! {{
    the_path_is_removed_on_close_and_can_be_bound_again
    a_socket_that_took_the_path_over_is_left_alone
    a_file_that_took_the_path_over_is_left_alone
    a_path_that_was_removed_already_is_no_error
    the_socket_of_a_killed_server_is_replaced
    a_socket_that_is_in_use_is_refused_and_not_harmed
    a_file_that_is_no_socket_is_refused_and_not_harmed
    a_link_is_refused_and_so_is_what_it_leads_to
    a_socket_of_the_other_kind_is_refused
    binding_a_second_time_fails_and_keeps_the_path
} unix_stream: Unix; unix_datagram: UnixDatagram; }
