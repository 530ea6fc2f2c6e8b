//! `stop_listening`: new connections are refused, and connections in the kernel's queue are closed.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::prelude::*;
use tempfile::TempDir;

use support::concurrent::Concurrent;
use support::gate::Gate;
use support::kind::{Client, Kind};
use support::{
    LONG, entries, eventually, for_stream_kinds, in_background, join_soon, socket_folder,
};

fn serve<L: Kind>(gate: &Gate) -> (TempDir, BackgroundServer) {
    let folder = socket_folder();
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), gate.handler());
    (folder, in_background(server))
}

fn try_to_connect(address: &Address) -> io::Result<Socket> {
    let (domain, raw) = match (address.socket_addr(), address.path()) {
        (Some(ip), _) => (Domain::for_address(ip), ip.into()),
        (_, Some(path)) => (Domain::UNIX, SockAddr::unix(path)?),
        _ => unreachable!("the server has an address"),
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_read_timeout(Some(LONG))?;
    socket.connect(&raw)?;
    Ok(socket)
}

fn is_refused(address: &Address) -> bool {
    let refused = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
    try_to_connect(address).is_err_and(|e| refused.contains(&e.kind()))
}

fn stop_listening(server: &ServerHandle) {
    server.stop_listening();
    assert!(server.is_paused());
    eventually("clients are refused", || {
        is_refused(server.server_address())
    });
}

fn is_served<L: Kind>(server: &ServerHandle, gate: &Gate) {
    eventually("the server listens", || {
        !is_refused(server.server_address())
    });
    let mut client = L::connect(server.server_address());
    gate.release(1);
    assert_eq!(client.exchange("again"), "again");
    eventually("the request has ended", || server.statistics().active == 0);
}

fn connections_are_refused_until_resume<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate);
    for _ in 0..5 {
        stop_listening(&server.handle());
        server.handle().resume();
        is_served::<L>(&server.handle(), &gate);
    }
}

fn connections_in_the_kernel_queue_are_closed<L: Kind>() {
    let (gate, folder) = (Gate::default(), socket_folder());
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), gate.handler());
    let server = server.expect("the server can be bound");
    let mut clients: Vec<_> = (0..20)
        .map(|_| try_to_connect(server.server_address()).expect("the server listens"))
        .collect();
    // Before it serves: a pause of a server that serves may come after it has accepted a client.
    server.handle().pause();
    let server = in_background(Ok(server));
    stop_listening(&server.handle());
    for client in &mut clients {
        let ended = client.read(&mut [0]);
        let is_reset = |e: &io::Error| e.kind() == ErrorKind::ConnectionReset;
        assert!(
            matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(is_reset),
            "{ended:?}"
        );
    }
    assert_eq!(server.handle().statistics().accepted, 0);
}

fn running_requests_continue<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate);
    let mut client = L::connect(server.server_address());
    client.send_line("running");
    assert_eq!(gate.next(), "running");
    stop_listening(&server.handle());
    gate.release(1);
    assert_eq!(client.receive_line(), "running");
}

fn stop_listening_and_pause_alternate<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate);
    stop_listening(&server.handle());
    server.handle().pause();
    eventually("the server listens", || {
        !is_refused(server.server_address())
    });
    assert_eq!(server.handle().statistics().accepted, 0);
    stop_listening(&server.handle());
    server.handle().resume();
    is_served::<L>(&server.handle(), &gate);
}

fn shutdown_while_not_listening<L: Kind>() {
    let (folder, server) = serve::<L>(&Gate::default());
    let address = server.server_address().clone();
    stop_listening(&server.handle());
    let stopping = thread::spawn(move || server.stop());
    join_soon(stopping).expect("serving ends without an error");
    eventually("the address is free", || L::is_free(&address));
    assert_eq!(entries(folder.path()), 0);
}

fn under_load_each_client_is_served_or_refused<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate);
    gate.release(10_000);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let address = server.server_address().clone();
            thread::spawn(move || (0..100).filter(|_| ask_once(&address)).count())
        })
        .collect();
    while !clients.iter().all(|client| client.is_finished()) {
        server.handle().stop_listening();
        thread::sleep(Duration::from_millis(1));
        server.handle().resume();
        thread::sleep(Duration::from_millis(2));
    }
    let served: usize = clients.into_iter().map(join_soon).sum();
    assert!(served > 0);
    is_served::<L>(&server.handle(), &gate);
}

/// Whether the client was answered. It may be refused, but it must not wait.
fn ask_once(address: &Address) -> bool {
    let Ok(mut socket) = try_to_connect(address) else {
        thread::sleep(Duration::from_millis(1));
        return false;
    };
    let mut answer = [0; 3];
    match socket
        .write_all(b"me\n")
        .and_then(|()| socket.read_exact(&mut answer))
    {
        Ok(()) => true,
        Err(e) => {
            assert_ne!(e.kind(), ErrorKind::WouldBlock, "the client does not wait");
            false
        }
    }
}

for_stream_kinds! {
    connections_are_refused_until_resume
    connections_in_the_kernel_queue_are_closed
    running_requests_continue
    stop_listening_and_pause_alternate
    shutdown_while_not_listening
    under_load_each_client_is_served_or_refused
}
