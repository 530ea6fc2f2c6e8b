//! Clients that do not read: a reply waits at most for the write timeout, and until a forced close.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram as Client;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::dispatch::Dispatch;
use socketserver::listener::UnixDatagram;
use socketserver::prelude::*;
use socketserver::{Builder, Server, UnixDatagramServer};
use tempfile::TempDir;

use support::concurrent::Concurrent;
use support::{
    LONG, connect_unix_datagram, eventually, in_background, join_soon, next, socket_folder,
    socket_path,
};

/// What ended the replies to a client that does not read.
struct Blocked {
    error: std::io::Error,
    /// How long the last reply took.
    took: Duration,
}

fn reply_until_error(send: impl Fn(&[u8]) -> std::io::Result<()>) -> Blocked {
    loop {
        let begun = Instant::now();
        if let Err(error) = send(&[b'x'; 1000]) {
            let took = begun.elapsed();
            return Blocked { error, took };
        }
    }
}

/// A server that echoes, but replies to `flood` until a reply fails.
fn start<D: Dispatch>(
    builder: Builder<UnixDatagram, D>,
) -> (BackgroundServer, Receiver<Blocked>, TempDir) {
    let (folder, path) = socket_path();
    let (report, reports) = channel();
    let server = builder.bind_fn(path, move |request| {
        match &*request.packet {
            b"flood" => report.send(reply_until_error(|data| request.reply(data)))?,
            other => request.wfile = other.to_vec(),
        }
        Ok(())
    });
    (in_background(server), reports, folder)
}

/// A client that does not read. It is not connected, so that the system limits its queue.
fn send_flood(server: &BackgroundServer, folder: &TempDir) -> Client {
    let client = Client::bind(folder.path().join("deaf")).expect("the folder is writable");
    let path = server
        .server_address()
        .path()
        .expect("the server has a path");
    client.send_to(b"flood", path).expect("the server is bound");
    client
}

/// The queue of a client that is connected to the server has no limit but the server's send buffer.
fn send_flood_connected(server: &BackgroundServer, folder: &TempDir) -> Client {
    let client = connect_unix_datagram(server.server_address(), folder.path(), "deaf");
    client.send(b"flood").expect("the server is bound");
    client
}

fn is_served(server: &BackgroundServer, folder: &TempDir) {
    let client = connect_unix_datagram(server.server_address(), folder.path(), "other");
    client.send(b"hello").expect("the server is bound");
    assert_eq!(client.recv(&mut [0; 10]).expect("the server answers"), 5);
}

/// After the deaf client was closed. A first reply may be lost: the system frees what that client has not read a moment
/// later, if a process that another test starts has its descriptor for that moment.
fn is_served_soon(server: &BackgroundServer, folder: &TempDir) {
    let client = connect_unix_datagram(server.server_address(), folder.path(), "other");
    let timeout = Duration::from_millis(100);
    client
        .set_read_timeout(Some(timeout))
        .expect("it is not zero");
    eventually("the server answers", || {
        client.send(b"hello").expect("the server is bound");
        client.recv(&mut [0; 10]).is_ok_and(|length| length == 5)
    });
}

fn expect_timeout(blocked: &Blocked, limit: Duration, folder: &TempDir) {
    assert_eq!(blocked.error.kind(), ErrorKind::TimedOut);
    let text = blocked.error.to_string();
    let path = folder.path().join("deaf").display().to_string();
    assert!(
        text.contains(&path) && text.contains("write_timeout"),
        "{text}"
    );
    let took = blocked.took;
    // Another wait would take it twice as long. On a busy machine a thread waits for its turn, for up to a second.
    let end = 2 * limit.max(Duration::from_secs(1));
    assert!(limit <= took && took < end, "{took:?}");
}

#[test]
fn a_client_that_does_not_read_stops_the_server_for_one_second() {
    let (server, reports, folder) = start(UnixDatagramServer::builder());
    let _client = send_flood(&server, &folder);
    expect_timeout(&next(&reports), Duration::from_secs(1), &folder);
    is_served(&server, &folder);
}

/// A client that ignores replies takes the time of one timeout, not of one for each of its packets.
#[test]
fn a_client_that_has_timed_out_is_not_waited_for() {
    let limit = Duration::from_secs(2);
    let builder = UnixDatagramServer::builder().write_timeout(limit);
    let (server, reports, folder) = start(builder);
    let client = send_flood(&server, &folder);
    expect_timeout(&next(&reports), limit, &folder);
    let path = server
        .server_address()
        .path()
        .expect("the server has a path");
    client.send_to(b"flood", path).expect("the server is bound");
    let blocked = next(&reports);
    assert_eq!(blocked.error.kind(), ErrorKind::TimedOut);
    assert!(blocked.took < limit / 2, "{:?}", blocked.took);

    // It gets what it has room for.
    client.set_nonblocking(true).expect("the mode can be set");
    while client.recv(&mut [0; 1000]).is_ok() {}
    client.set_nonblocking(false).expect("the mode can be set");
    client.send_to(b"hello", path).expect("the server is bound");
    assert_eq!(client.recv(&mut [0; 10]).expect("the server answers"), 5);
}

/// A new address for each datagram does not make the server wait again.
#[test]
fn many_clients_that_do_not_read_take_one_timeout() {
    let limit = Duration::from_secs(2);
    let builder = UnixDatagramServer::builder().write_timeout(limit);
    let (server, reports, folder) = start(builder);
    let path = server.server_address().path().expect("it has a path");
    let clients: Vec<_> = (0..5)
        .map(|number| {
            let client = Client::bind(folder.path().join(number.to_string()));
            let client = client.expect("the folder is writable");
            client.send_to(b"flood", path).expect("the server is bound");
            client
        })
        .collect();
    let begun = Instant::now();
    for _ in &clients {
        assert_eq!(next(&reports).error.kind(), ErrorKind::TimedOut);
    }
    assert!(begun.elapsed() < 2 * limit, "{:?}", begun.elapsed());
}

#[test]
fn the_write_timeout_can_be_set() {
    let limit = Duration::from_millis(120);
    let builder = UnixDatagramServer::builder().write_timeout(limit);
    let (server, reports, folder) = start(builder);
    let _client = send_flood(&server, &folder);
    expect_timeout(&next(&reports), limit, &folder);
    is_served(&server, &folder);
}

#[test]
fn the_write_timeout_limits_the_wait_for_the_send_buffer() {
    let limit = Duration::from_millis(120);
    let builder = UnixDatagramServer::builder().write_timeout(limit);
    let (server, reports, folder) = start(builder);
    let client = send_flood_connected(&server, &folder);
    expect_timeout(&next(&reports), limit, &folder);
    drop(client);
    is_served_soon(&server, &folder);
}

#[test]
fn a_write_timeout_of_zero_is_refused() {
    let builder = UnixDatagramServer::builder().write_timeout(Duration::ZERO);
    let (_folder, path) = socket_path();
    let error = builder
        .bind_fn(path, |_| Ok(()))
        .expect_err("the time is zero");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_forced_close_ends_a_reply_without_a_time_limit() {
    let builder = Server::<UnixDatagram, Concurrent>::builder().write_timeout(None);
    let (server, reports, folder) = start(builder);
    let _client = send_flood(&server, &folder);
    is_served(&server, &folder);
    let report = server.handle().shutdown_within(Duration::from_millis(50));
    assert_eq!((report.forced, report.unfinished), (1, 0));
    let error = next(&reports).error;
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
}

/// The accept loop itself is blocked in a reply, and nobody else can end it.
#[test]
fn a_forced_close_ends_a_server_without_threads() {
    let builder = UnixDatagramServer::builder().write_timeout(None);
    let (server, reports, folder) = start(builder.shutdown_timeout(Duration::from_millis(50)));
    let client = send_flood(&server, &folder);
    client.recv(&mut [0; 1000]).expect("the server sends");
    join_soon(thread::spawn(|| server.stop())).expect("the server has ended");
    assert_eq!(next(&reports).error.kind(), ErrorKind::ConnectionAborted);
}

/// A handler passes the socket to another thread, which sends after the server has ended.
#[test]
fn a_forced_close_ends_a_send_on_another_thread() {
    let (folder, path) = socket_path();
    let (give, given) = channel();
    let builder = UnixDatagramServer::builder().write_timeout(None);
    let server = builder
        .shutdown_timeout(Duration::from_millis(50))
        .bind_fn(path, move |request| {
            Ok(give.send((request.socket.clone(), request.client_address.clone()))?)
        });
    let server = in_background(server);
    let client = send_flood_connected(&server, &folder);
    let (socket, address) = next(&given);
    let sending = thread::spawn(move || reply_until_error(|data| socket.send_to(data, &address)));
    client.recv(&mut [0; 1000]).expect("the thread sends");
    server.stop().expect("the server has ended");
    let error = join_soon(sending).error;
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
}

fn numbers(report: Sender<()>) -> impl Fn(&mut DatagramRequest) -> HandlerResult {
    move |request| {
        for number in 0..2000u32 {
            request.reply(&number.to_be_bytes())?;
        }
        Ok(report.send(())?)
    }
}

fn all_arrive(server: BackgroundServer, sent: &Receiver<()>, folder: &TempDir) {
    let client = connect_unix_datagram(server.server_address(), folder.path(), "slow");
    client.send(b"numbers").expect("the server is bound");
    for number in 0..2000u32 {
        let mut packet = [0; 4];
        client.recv(&mut packet).expect("the server sends");
        assert_eq!(packet, number.to_be_bytes());
    }
    next(sent);
}

#[test]
fn a_client_that_reads_slowly_gets_every_reply() {
    let (folder, path) = socket_path();
    let (report, sent) = channel();
    let builder = UnixDatagramServer::builder().write_timeout(LONG);
    all_arrive(
        in_background(builder.bind_fn(path, numbers(report))),
        &sent,
        &folder,
    );
}

#[test]
fn replies_of_a_non_blocking_socket_wait_too() {
    let folder = socket_folder();
    let (report, sent) = channel();
    let socket = Client::bind(folder.path().join("server")).expect("the path is free");
    socket.set_nonblocking(true).expect("the mode can be set");
    let builder = UnixDatagramServer::builder().write_timeout(LONG);
    all_arrive(
        in_background(builder.adopt_fn(socket, numbers(report))),
        &sent,
        &folder,
    );
}
