//! `max_connections` and `max_threads` are hard limits, for every kind of server.

use socketserver::dispatch::{Inline, ThreadPool};
use socketserver::{BackgroundServer, Builder, Server, ServerHandle};
use tempfile::TempDir;

use support::gate::Gate;
use support::kind::{Client, Kind};
use support::{eventually, for_all_kinds, in_background, socket_folder};

fn serve<L: Kind>(
    gate: &Gate,
    limit: impl FnOnce(Builder<L, ThreadPool>) -> Builder<L, ThreadPool>,
) -> (TempDir, BackgroundServer) {
    let folder = socket_folder();
    let builder = limit(Server::builder());
    let server = builder.bind_fn(L::address(folder.path()), gate.handler());
    (folder, in_background(server))
}

/// Clients that have asked, one after the other.
fn ask<L: Kind>(server: &ServerHandle, questions: &[&str]) -> Vec<L::Client> {
    let ask = |question: &&str| {
        let mut client = L::connect(server.server_address());
        client.send_line(question);
        client
    };
    questions.iter().map(ask).collect()
}

/// Ten clients: never more at once than the limit, all of them served.
fn never_more<L: Kind>(gate: &Gate, server: &ServerHandle, limit: usize) {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut clients = ask::<L>(server, &names);
    let first = gate.next_few(limit);
    assert_eq!(first, &names[..limit]);
    gate.release(names.len());
    for (client, name) in clients.iter_mut().zip(names) {
        assert_eq!(client.receive_line(), name);
    }
    eventually("all are done", || server.statistics().finished == 10);
    assert_eq!(server.statistics().peak_active, limit);
}

fn connections_are_limited<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_connections(3));
    never_more::<L>(&gate, &server.handle(), 3);
}

fn a_limit_of_one_connection_works<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_connections(1));
    never_more::<L>(&gate, &server.handle(), 1);
}

fn a_limit_of_no_connection_counts_as_one<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_connections(0));
    never_more::<L>(&gate, &server.handle(), 1);
}

fn threads_are_limited<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_threads(3));
    never_more::<L>(&gate, &server.handle(), 3);
    assert_eq!(server.handle().statistics().peak_threads, 3);
}

fn the_lower_limit_holds<L: Kind>() {
    let gate = Gate::default();
    let limit = |builder: Builder<L, _>| builder.max_threads(5).max_connections(2);
    let (_folder, server) = serve::<L>(&gate, limit);
    never_more::<L>(&gate, &server.handle(), 2);
}

fn those_who_wait_are_served_when_the_limit_is_raised<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_connections(1));
    let _clients = ask::<L>(&server.handle(), &["a", "b", "c", "d"]);
    assert_eq!(gate.next(), "a");
    server.handle().set_max_connections(3);
    assert_eq!(gate.next_few(2), ["b", "c"]);
    server.handle().set_max_connections(None);
    assert_eq!(gate.next(), "d");
    gate.release(4);
}

fn those_beyond_a_lowered_limit_go_on_and_no_other_is_served<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_connections(3));
    let _clients = ask::<L>(&server.handle(), &["a", "b", "c", "d"]);
    assert_eq!(gate.next_few(3), ["a", "b", "c"]);
    server.handle().set_max_connections(1);
    gate.release(3);
    assert_eq!(gate.next(), "d");
    assert_eq!(server.handle().statistics().finished, 3);
    gate.release(1);
}

fn threads_are_raised_and_lowered<L: Kind>() {
    let gate = Gate::default();
    let (_folder, server) = serve::<L>(&gate, |builder| builder.max_threads(1));
    let _clients = ask::<L>(&server.handle(), &["a", "b", "c", "d", "e"]);
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

/// It needs no limit, and works with one.
fn an_inline_server_works_with_a_limit<L: Kind>() {
    let (folder, gate) = (socket_folder(), Gate::default());
    let builder = Server::<L, Inline>::builder().max_connections(1);
    let server = in_background(builder.bind_fn(L::address(folder.path()), gate.handler()));
    never_more::<L>(&gate, &server.handle(), 1);
}

for_all_kinds! {
    connections_are_limited
    a_limit_of_one_connection_works
    a_limit_of_no_connection_counts_as_one
    threads_are_limited
    the_lower_limit_holds
    those_who_wait_are_served_when_the_limit_is_raised
    those_beyond_a_lowered_limit_go_on_and_no_other_is_served
    threads_are_raised_and_lowered
    an_inline_server_works_with_a_limit
}
