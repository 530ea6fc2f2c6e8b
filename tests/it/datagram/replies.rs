//! Datagrams: replies, and packets that are too long; the same
//! over UDP and Unix sockets.

use std::sync::mpsc::channel;

use log::Level;
use socket2::SockRef;
use socketserver::dispatch::Inline;
use socketserver::prelude::*;
use socketserver::{Address, BackgroundServer, Builder, Server};
use tempfile::TempDir;

use support::kind::{Client, Kind};
use support::logs::Logs;
use support::{for_datagram_kinds, in_background, next, socket_folder};

fn start<L: Kind<Request = DatagramRequest>>(
    builder: Builder<L, Inline>,
    handle: impl Fn(&mut DatagramRequest) -> HandlerResult + Send + Sync + 'static,
) -> (BackgroundServer, TempDir) {
    let folder = socket_folder();
    let server = builder.bind_fn(L::address(folder.path()), handle);
    (in_background(server), folder)
}

/// What a reply is made of.
fn answer(request: &mut DatagramRequest) -> HandlerResult {
    match &*request.packet {
        b"nothing\n" => {}
        b"an empty one\n" => request.reply(b"")?,
        b"several\n" => {
            request.reply(b"first\n")?;
            request.reply(b"second\n")?;
            request.wfile.write_all(b"third\n")?;
        }
        b"in parts\n" => {
            request.wfile.write_all(b"one ")?;
            request.wfile.write_all(b"packet\n")?;
        }
        b"and fail\n" => {
            request.wfile.write_all(b"failing\n")?;
            return Err("as asked".into());
        }
        other => request.wfile = other.to_vec(),
    }
    Ok(())
}

fn a_handler_that_writes_nothing_sends_nothing<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    client.send_line("nothing");
    // One request after the other: an empty packet would come first.
    assert_eq!(client.ask("something"), "something");
}

fn an_empty_reply_goes_out_when_it_is_asked_for<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    client.send_line("an empty one");
    assert_eq!(client.receive_line(), "");
    assert_eq!(client.ask("something"), "something");
}

fn what_is_written_in_parts_is_one_packet<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.ask("in parts"), "one packet");
    assert_eq!(client.ask("something"), "something");
}

fn several_replies_go_out_before_the_one_in_wfile<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.ask("several"), "first");
    assert_eq!(client.receive_line(), "second");
    assert_eq!(client.receive_line(), "third");
}

fn what_was_written_before_an_error_is_sent<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.ask("and fail"), "failing");
}

/// A packet of 16 bytes and one of 17, where 16 is the limit.
fn a_packet_that_is_too_long_is_marked_and_logged<L>()
where
    L: Kind<Request = DatagramRequest>,
    L::Client: std::os::fd::AsFd,
{
    let logs = Logs::from_here();
    let (reporter, reports) = channel();
    let builder = Server::<L, Inline>::builder().max_packet_size(16);
    let (server, _folder) = start(builder, move |request| {
        Ok(reporter.send((request.packet.to_vec(), request.truncated))?)
    });
    let mut client = L::connect(server.server_address());
    let local = SockRef::from(&client).local_addr().expect("it is bound");
    let cut = format!(
        "from {}: a datagram longer than 16 bytes was truncated",
        Address::from(local)
    );

    client.send_line("fifteen letters");
    assert_eq!(next(&reports), (b"fifteen letters\n".to_vec(), false));
    assert_eq!(logs.with(&cut), []);

    client.send_line("sixteen letters!");
    assert_eq!(next(&reports), (b"sixteen letters!".to_vec(), true));
    let logged = logs.with(&cut);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(logged[0].0, Level::Warn);
    assert!(
        logged[0].1.starts_with("socketserver::listener: "),
        "{logged:?}"
    );
}

fn an_empty_packet_is_a_request<L>()
where
    L: Kind<Request = DatagramRequest>,
    L::Client: std::os::fd::AsFd,
{
    let (reporter, reports) = channel();
    let (server, _folder) = start(Server::<L, Inline>::builder(), move |request| {
        Ok(reporter.send((request.packet.len(), request.truncated))?)
    });
    let client = L::connect(server.server_address());
    SockRef::from(&client)
        .send(b"")
        .expect("the server is bound");
    assert_eq!(next(&reports), (0, false));
}

for_datagram_kinds! {
    a_handler_that_writes_nothing_sends_nothing
    an_empty_reply_goes_out_when_it_is_asked_for
    what_is_written_in_parts_is_one_packet
    several_replies_go_out_before_the_one_in_wfile
    what_was_written_before_an_error_is_sent
    a_packet_that_is_too_long_is_marked_and_logged
    an_empty_packet_is_a_request
}
