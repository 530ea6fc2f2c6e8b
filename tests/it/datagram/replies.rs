//! Replies to datagrams, and truncated packets. UDP and Unix sockets behave alike.

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

/// A handler that replies in the way that the packet names.
fn answer(request: &mut DatagramRequest) -> HandlerResult {
    match &*request.packet {
        b"nothing\n" => {}
        b"an empty reply\n" => request.reply(b"")?,
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
            return Err("requested by the test".into());
        }
        other => request.wfile = other.to_vec(),
    }
    Ok(())
}

fn a_handler_that_writes_nothing_sends_nothing<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    client.send_line("nothing");
    // Requests are handled in order, so an empty packet would arrive first.
    assert_eq!(client.exchange("something"), "something");
}

/// Replies with the packet, unless that asks for a failure.
struct Replies;

impl RequestHandler<DatagramRequest> for Replies {
    fn setup(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        request.wfile = request.packet.to_vec();
        match &*request.packet {
            b"fail in setup\n" => Err("requested by the test".into()),
            _ => Ok(()),
        }
    }

    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        assert_ne!(&*request.packet, b"panic in handle\n");
        Ok(())
    }
}

impl Hooks<DatagramRequest> for Replies {
    fn verify_request(&self, request: &mut DatagramRequest) -> Result<bool, HandlerError> {
        request.wfile = b"refused\n".to_vec();
        Ok(&*request.packet != b"refuse\n")
    }
}

fn a_reply_is_sent_unless_setup_fails<L: Kind<Request = DatagramRequest>>() {
    let folder = socket_folder();
    let builder = Server::<L, Inline>::builder().hooks(Replies);
    let server = in_background(builder.bind(L::address(folder.path()), || Replies));
    let mut client = L::connect(server.server_address());
    client.send_line("fail in setup");
    // Requests are handled in order, so a reply to that one would arrive first.
    assert_eq!(client.exchange("panic in handle"), "panic in handle");
    assert_eq!(client.exchange("refuse"), "refused");
}

fn an_explicit_empty_reply_is_sent<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    client.send_line("an empty reply");
    assert_eq!(client.receive_line(), "");
    assert_eq!(client.exchange("something"), "something");
}

fn several_writes_are_one_packet<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("in parts"), "one packet");
    assert_eq!(client.exchange("something"), "something");
}

fn explicit_replies_are_sent_before_wfile<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("several"), "first");
    assert_eq!(client.receive_line(), "second");
    assert_eq!(client.receive_line(), "third");
}

fn wfile_is_sent_after_an_error<L: Kind<Request = DatagramRequest>>() {
    let (server, _folder) = start(Server::<L, Inline>::builder(), answer);
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("and fail"), "failing");
}

/// Packets of 16 and 17 bytes, with a limit of 16 bytes.
fn a_truncated_packet_is_marked_and_logged<L>()
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
    let local = SockRef::from(&client)
        .local_addr()
        .expect("the socket is bound");
    let cut = format!(
        "from {}: a datagram longer than 16 bytes was truncated",
        Address::from(local)
    );

    client.send_line("fifteen symbols");
    assert_eq!(next(&reports), (b"fifteen symbols\n".to_vec(), false));
    assert_eq!(logs.with(&cut), []);

    client.send_line("sixteen symbols!");
    assert_eq!(next(&reports), (b"sixteen symbols!".to_vec(), true));
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
    a_reply_is_sent_unless_setup_fails
    an_explicit_empty_reply_is_sent
    several_writes_are_one_packet
    explicit_replies_are_sent_before_wfile
    wfile_is_sent_after_an_error
    a_truncated_packet_is_marked_and_logged
    an_empty_packet_is_a_request
}
