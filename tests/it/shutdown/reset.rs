//! A forced close resets the connection, so that a client does not take truncated data as complete.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use support::concurrent::ConcurrentTcpServer;
use support::handlers::{begin, block, counts};
use support::{ANY, in_background};

const SHORT: Duration = Duration::from_millis(100);

fn assert_reset(mut client: TcpStream) {
    let end = std::io::copy(&mut client, &mut std::io::sink());
    let end = end.map_err(|e| e.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[test]
fn connections_are_reset_at_max_lifetime() {
    let builder = ConcurrentTcpServer::builder().max_lifetime(SHORT);
    let server = in_background(builder.bind_fn(ANY, block));
    // One handler is blocked in a read, one in a write, and one loops without end.
    for order in ["read", "write", "loop"] {
        assert_reset(begin(server.server_address(), order));
    }
    let report = server.handle().shutdown_within(Duration::ZERO);
    assert_eq!(report.unfinished, 1);
}

#[test]
fn connections_are_reset_by_a_forced_shutdown() {
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, block));
    let orders = ["read", "write", "loop"];
    let clients = orders.map(|order| begin(server.server_address(), order));
    assert_eq!(counts(server.handle().shutdown_within(SHORT)), (0, 2, 1));
    clients.into_iter().for_each(assert_reset);
}

#[test]
fn a_connection_that_ends_in_time_is_not_reset() {
    let builder = ConcurrentTcpServer::builder().max_lifetime(Duration::from_secs(60));
    let server = in_background(builder.bind_fn(ANY, block));
    let mut client = begin(server.server_address(), "nothing");
    assert_eq!(client.read(&mut [0]).map_err(|e| e.kind()), Ok(0));
}
