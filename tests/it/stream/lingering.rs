//! Lingering close: a client that still sends gets the whole reply, and costs little.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;
use socketserver::{OverloadPolicy, Server};

use support::concurrent::{Concurrent, ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::kind::{Client, StreamClient, StreamKind};
use support::{
    ANY, LONG, assert_reset, connect, connect_unix, eventually, for_stream_kinds, in_background,
    join_soon, read_all, socket_folder, socket_path,
};

const MEGABYTE: usize = 1_000_000;

/// A handler that answers the first line with a reply of this length, and reads nothing more.
fn answer_early(reply: usize) -> impl Fn(&mut StreamRequest) -> HandlerResult {
    move |request| {
        request.rfile.readline(100)?;
        Ok(request.wfile.write_all(&vec![b'r'; reply])?)
    }
}

fn serve_tcp<F>(
    builder: socketserver::Builder<socketserver::listener::Tcp, Concurrent>,
    handle: F,
) -> BackgroundServer
where
    F: Fn(&mut StreamRequest) -> HandlerResult + Send + Sync + 'static,
{
    in_background(builder.bind_fn(ANY, handle))
}

/// Sends it all, then ends its side and reads the reply.
fn upload(mut client: impl Read + Write, bytes: usize) -> Vec<u8> {
    client.write_all(b"put\n").expect("the server reads");
    client
        .write_all(&vec![b'x'; bytes])
        .expect("the server discards what it does not read");
    let mut reply = vec![];
    client
        .read_to_end(&mut reply)
        .expect("the stream ends in order");
    reply
}

fn an_early_reply_arrives_while_the_client_sends<L: StreamKind>() {
    let folder = socket_folder();
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), answer_early(100));
    let server = in_background(server);
    for (bytes, rounds) in [(MEGABYTE, 100), (10 * MEGABYTE, 10)] {
        for _ in 0..rounds {
            let client = L::connect(server.server_address());
            assert_eq!(upload(client.socket(), bytes).len(), 100);
        }
    }
}

fn a_long_reply_arrives_while_the_client_sends<L: StreamKind>() {
    let folder = socket_folder();
    let handle = answer_early(MEGABYTE);
    let server = Server::<L, Concurrent>::bind_fn(L::address(folder.path()), handle);
    let server = in_background(server);
    for _ in 0..100 {
        let client = L::connect(server.server_address());
        let (mut sender, receiver) = (client.socket(), client.socket());
        let sending = thread::spawn(move || {
            sender.write_all(b"put\n")?;
            sender.write_all(&vec![b'x'; 4 * MEGABYTE])
        });
        assert_eq!(read_all(receiver).len(), MEGABYTE);
        sending
            .join()
            .expect("sending does not panic")
            .expect("the server discards it");
    }
}

fn a_rejected_client_that_sent_first_gets_the_answer<L: StreamKind>() {
    struct Busy;

    impl Hooks for Busy {
        fn reject_request(&self, request: &mut StreamRequest, _: RejectReason) -> HandlerResult {
            Ok(request.wfile.write_all(b"server busy\n")?)
        }
    }

    let folder = socket_folder();
    let builder = Server::<L, Concurrent>::builder()
        .hooks(Busy)
        .max_connections(1);
    let builder = builder.overload(OverloadPolicy::Reject);
    let server = builder.bind_fn(L::address(folder.path()), |request| {
        request.wfile.write_all(b"served\n")?;
        Ok(request.rfile.read_line(&mut String::new()).map(drop)?)
    });
    let server = in_background(server);
    let mut first = L::connect(server.server_address());
    assert_eq!(first.receive_line(), "served");
    for _ in 0..100 {
        let client = L::connect(server.server_address());
        assert_eq!(upload(client.socket(), MEGABYTE), b"server busy\n");
    }
}

for_stream_kinds! {
    an_early_reply_arrives_while_the_client_sends
    a_long_reply_arrives_while_the_client_sends
    a_rejected_client_that_sent_first_gets_the_answer
}

/// A client whose connection lingers: it has its reply, and keeps its side open.
fn lingering_client(server: &BackgroundServer) -> TcpStream {
    let before = server.handle().statistics().lingering;
    let mut client = connect(server.server_address());
    client.write_all(b"get\n").expect("the server reads");
    assert_eq!(read_all(&client).len(), 100);
    eventually("the connection lingers", || {
        server.handle().statistics().lingering == before + 1
    });
    client
}

fn wait_until_closed(server: &BackgroundServer) {
    eventually("no connection lingers", || {
        server.handle().statistics().lingering == 0
    });
}

#[test]
fn a_lingering_connection_counts_for_no_limit() {
    let builder = ConcurrentTcpServer::builder()
        .max_connections(1)
        .max_per_ip(1)
        .dispatch(Concurrent::at_most(1));
    let server = serve_tcp(builder, answer_early(100));
    let clients: Vec<_> = (0..20).map(|_| lingering_client(&server)).collect();
    eventually("all have finished and linger", || {
        let statistics = server.handle().statistics();
        (statistics.lingering, statistics.finished) == (20, 20)
    });
    drop(clients);
    wait_until_closed(&server);
}

#[test]
fn a_handle_to_a_lingering_connection_is_not_connected() {
    let (given, connections) = std::sync::mpsc::channel();
    let server = serve_tcp(ConcurrentTcpServer::builder(), move |request| {
        given.send(request.connection()?)?;
        answer_early(100)(request)
    });
    let client = lingering_client(&server);
    let connection = connections.recv_timeout(LONG).expect("the handler runs");
    eventually("the handle is not connected", || {
        let sent = connection.send_all(b"late");
        sent.is_err_and(|e| e.kind() == ErrorKind::NotConnected)
    });
    drop(client);
}

#[test]
fn a_silent_client_is_closed_after_lingering_timeout() {
    let timeout = Duration::from_millis(300);
    let builder = ConcurrentTcpServer::builder().lingering_timeout(timeout);
    let server = serve_tcp(builder, answer_early(100));
    let begin = Instant::now();
    let mut client = lingering_client(&server);
    wait_until_closed(&server);
    assert!(begin.elapsed() >= timeout);
    // A closed socket answers with a reset.
    client.write_all(b"x").expect("the system takes it");
    eventually("the client sees the reset", || {
        client.write_all(b"x").is_err()
    });
}

#[test]
fn a_client_that_sends_slowly_is_closed_after_lingering_time() {
    let time = Duration::from_millis(600);
    let builder = ConcurrentTcpServer::builder().lingering_time(time);
    let server = serve_tcp(builder, answer_early(100));
    let begin = Instant::now();
    let mut client = lingering_client(&server);
    eventually("the client sees the reset", || {
        client.write_all(b"x").is_err()
    });
    assert!(begin.elapsed() >= time);
    wait_until_closed(&server);
}

#[test]
fn a_client_that_floods_is_closed_after_lingering_bytes() {
    let builder = ConcurrentTcpServer::builder().lingering_bytes(MEGABYTE as u64);
    let server = serve_tcp(builder, answer_early(100));
    let mut client = lingering_client(&server);
    let mut sent = 0;
    while client.write_all(&[b'x'; 10_000]).is_ok() {
        sent += 10_000;
        assert!(sent < 100 * MEGABYTE, "the server discards without limit");
    }
    assert!(sent >= MEGABYTE);
    wait_until_closed(&server);
}

#[test]
fn connections_above_max_lingering_are_closed_at_once() {
    let server = serve_tcp(
        ConcurrentTcpServer::builder().max_lingering(2),
        answer_early(100),
    );
    let lingering = [lingering_client(&server), lingering_client(&server)];
    let mut third = connect(server.server_address());
    third.write_all(b"get\n").expect("the server reads");
    assert_eq!(read_all(&third).len(), 100);
    eventually("the client sees the reset", || {
        third.write_all(b"x").is_err()
    });
    assert_eq!(server.handle().statistics().lingering, 2);
    drop(lingering);
}

/// A reset does not hurt: there is no reply.
#[test]
fn a_connection_without_a_reply_does_not_linger() {
    let server = serve_tcp(ConcurrentTcpServer::builder(), |_| Ok(()));
    let client = connect(server.server_address());
    assert_eq!(read_all(&client), "");
    assert_eq!(server.handle().statistics().lingering, 0);
}

#[test]
fn an_aborted_connection_does_not_linger() {
    let server = serve_tcp(ConcurrentTcpServer::builder(), |request| {
        request.wfile.write_all(b"reply")?;
        request.abort();
        Ok(())
    });
    let mut client = connect(server.server_address());
    let _ = client.read_exact(&mut [0; 5]);
    assert_reset(&client);
    assert_eq!(server.handle().statistics().lingering, 0);
}

/// The clients have their replies, and neither send nor close.
#[test]
fn closing_the_server_does_not_wait_for_silent_clients() {
    let builder = ConcurrentTcpServer::builder().lingering_timeout(support::HOUR);
    let server = serve_tcp(builder, answer_early(100));
    let clients: Vec<_> = (0..10).map(|_| lingering_client(&server)).collect();
    let handle = server.handle();
    join_soon(thread::spawn(move || server.stop())).expect("a shutdown is not an error");
    assert_eq!(handle.statistics().lingering, 0);
    drop(clients);
}

/// A client that still sends when the server closes sees the end of the stream, and no reset.
#[test]
fn closing_the_server_resets_no_client_of_a_unix_socket() {
    for _ in 0..20 {
        let (_folder, path) = socket_path();
        let server = ConcurrentUnixStreamServer::bind_fn(&path, answer_early(100));
        let server = in_background(server);
        let mut client = connect_unix(server.server_address());
        client.write_all(b"put\n").expect("the server reads");
        let mut sender = client.try_clone().expect("a descriptor is free");
        let sending = thread::spawn(move || while sender.write_all(&[b'x'; 1000]).is_ok() {});
        let mut reply = [0; 100];
        client.read_exact(&mut reply).expect("the reply arrives");
        server.stop().expect("a shutdown is not an error");
        assert_eq!(read_all(&client), "");
        join_soon(sending);
    }
}

/// The reply is in the systems' buffers, and the client reads it after a while.
#[test]
fn closing_the_server_waits_until_replies_are_received() {
    let server = serve_tcp(ConcurrentTcpServer::builder(), answer_early(4 * MEGABYTE));
    let mut client = connect(server.server_address());
    client.write_all(b"put\n").expect("the server reads");
    client
        .write_all(&[b'x'; 50_000])
        .expect("the server's system takes it");
    let mut reply = vec![0; 2 * MEGABYTE];
    client.read_exact(&mut reply).expect("the reply begins");
    let stopping = thread::spawn(move || server.stop());
    thread::sleep(Duration::from_millis(300));
    client
        .write_all(&[b'x'; 50_000])
        .expect("the server discards it");
    assert_eq!(read_all(&client).len(), 2 * MEGABYTE);
    join_soon(stopping).expect("a shutdown is not an error");
}

#[test]
fn closing_the_server_gives_up_after_lingering_timeout() {
    let timeout = Duration::from_millis(300);
    let builder = ConcurrentTcpServer::builder().lingering_timeout(timeout);
    let server = serve_tcp(builder, answer_early(MEGABYTE));
    let mut client = connect(server.server_address());
    client.write_all(b"get\n").expect("the server reads");
    eventually("the connection lingers", || {
        server.handle().statistics().lingering == 1
    });
    // It never reads the reply.
    let handle = server.handle();
    join_soon(thread::spawn(move || server.stop())).expect("a shutdown is not an error");
    assert_eq!(handle.statistics().lingering, 0);
    drop(client);
}
