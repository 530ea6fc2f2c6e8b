//! `max_connections` and the dispatcher's limit are hard limits for every kind of server.

use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::{BackgroundServer, Builder, Dispatch, Server, ServerHandle};
use tempfile::TempDir;

use support::concurrent::Concurrent;
use support::gate::Gate;
use support::kind::{Client, Kind};
use support::{eventually, for_all_kinds, in_background, socket_folder};

fn serve<L: Kind, D: Dispatch>(
    gate: &Gate,
    limit: impl FnOnce(Builder<L, Concurrent>) -> Builder<L, D>,
) -> (TempDir, BackgroundServer) {
    let folder = socket_folder();
    let builder = limit(Server::builder());
    let server = builder.bind_fn(L::address(folder.path()), gate.handler());
    (folder, in_background(server))
}

/// Clients that have sent a message, one after the other.
fn connect_and_send<L: Kind>(server: &ServerHandle, messages: &[&str]) -> Vec<L::Client> {
    let connect_and_send = |message: &&str| {
        let mut client = L::connect(server.server_address());
        client.send_line(message);
        client
    };
    messages.iter().map(connect_and_send).collect()
}

/// Ten clients: at most `limit` of them are served at once, and all of them are served.
fn never_exceeds_the_limit<L: Kind>(gate: &Gate, server: &ServerHandle, limit: usize) {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut clients = connect_and_send::<L>(server, &names);
    let first = gate.next_few(limit);
    assert_eq!(first, &names[..limit]);
    gate.release(names.len());
    for (client, name) in clients.iter_mut().zip(names) {
        assert_eq!(client.receive_line(), name);
    }
    eventually("all requests have finished", || {
        server.statistics().finished == 10
    });
    assert_eq!(server.statistics().peak_active, limit);
}

fn connections_are_limited<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L, _>(&gate, |builder| builder.max_connections(3));
    never_exceeds_the_limit::<L>(&gate, &server.handle(), 3);
}

fn a_limit_of_one_connection_works<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L, _>(&gate, |builder| builder.max_connections(1));
    never_exceeds_the_limit::<L>(&gate, &server.handle(), 1);
}

fn a_limit_of_zero_connections_counts_as_one<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L, _>(&gate, |builder| builder.max_connections(0));
    never_exceeds_the_limit::<L>(&gate, &server.handle(), 1);
}

fn the_limit_of_the_dispatcher_applies<L: Kind>() {
    let gate = Gate::default();
    let limit = |builder: Builder<L, _>| builder.dispatch(Concurrent::at_most(3));
    let (_folder, server) = serve::<L, _>(&gate, limit);
    never_exceeds_the_limit::<L>(&gate, &server.handle(), 3);
}

fn the_lower_of_both_limits_applies<L: Kind>() {
    let gate = Gate::default();
    let limit = |builder: Builder<L, _>| {
        let builder = builder.dispatch(Concurrent::at_most(5));
        builder.max_connections(2)
    };
    let (_folder, server) = serve::<L, _>(&gate, limit);
    never_exceeds_the_limit::<L>(&gate, &server.handle(), 2);
}

fn waiting_clients_are_served_when_the_limit_is_raised<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L, _>(&gate, |builder| builder.max_connections(1));
    let _clients = connect_and_send::<L>(&server.handle(), &["a", "b", "c", "d"]);
    assert_eq!(gate.next(), "a");
    server.handle().set_max_connections(3);
    assert_eq!(gate.next_few(2), ["b", "c"]);
    server.handle().set_max_connections(None);
    assert_eq!(gate.next(), "d");
    gate.release(4);
}

fn running_requests_continue_when_the_limit_is_lowered<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L, _>(&gate, |builder| builder.max_connections(3));
    let _clients = connect_and_send::<L>(&server.handle(), &["a", "b", "c", "d"]);
    assert_eq!(gate.next_few(3), ["a", "b", "c"]);
    server.handle().set_max_connections(1);
    gate.release(3);
    assert_eq!(gate.next(), "d");
    assert_eq!(server.handle().statistics().finished, 3);
    gate.release(1);
}

fn max_threads_can_be_raised_and_lowered<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L, _>(&gate, |builder| {
        builder.dispatch(ThreadPool::new()).max_threads(1)
    });
    let _clients = connect_and_send::<L>(&server.handle(), &["a", "b", "c", "d", "e"]);
    assert_eq!(gate.next(), "a");
    server.handle().set_max_threads(3);
    assert_eq!(gate.next_few(2), ["b", "c"]);
    server.handle().set_max_threads(1);
    gate.release(3);
    assert_eq!(gate.next(), "d");
    eventually("threads end", || server.handle().statistics().threads == 1);
    gate.release(1);
    assert_eq!(gate.next(), "e");
    assert_eq!(server.handle().statistics().active, 1);
    assert_eq!(server.handle().statistics().peak_threads, 3);
    gate.release(1);
}

/// An inline server serves one request at a time anyway; a limit changes nothing.
fn an_inline_server_works_with_a_limit<L: Kind>() {
    let (folder, gate) = (socket_folder(), Gate::default());
    let builder = Server::<L, Inline>::builder().max_connections(1);
    let server = in_background(builder.bind_fn(L::address(folder.path()), gate.handler()));
    never_exceeds_the_limit::<L>(&gate, &server.handle(), 1);
}

for_all_kinds! {
    connections_are_limited
    a_limit_of_one_connection_works
    a_limit_of_zero_connections_counts_as_one
    the_limit_of_the_dispatcher_applies
    the_lower_of_both_limits_applies
    waiting_clients_are_served_when_the_limit_is_raised
    running_requests_continue_when_the_limit_is_lowered
    max_threads_can_be_raised_and_lowered
    an_inline_server_works_with_a_limit
}
