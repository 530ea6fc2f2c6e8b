//! Log lines and counts of rejected clients.

use std::io::{self, Read};
use std::time::Duration;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, OverloadPolicy, RejectReason};

use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::counts::settled;
use support::logs::Logs;
use support::{ANY, LONG, connect_from, eventually, exchange};

use super::requests::{Ended, SHORT, greet_and_echo, ip, lines, new_host, without_duration};

fn rejected(why: RejectReason) -> String {
    format!("rejected ({why}); 0 bytes in, 0 bytes out")
}

/// The second client of a server with a limit of one connection. Both clients have the same IP
/// address.
fn second(
    builder: Builder<Tcp, Concurrent>,
    meanwhile: impl FnOnce(&ServerHandle),
) -> io::Result<Ended> {
    let logs = Logs::from_here();
    let server = builder
        .bind_fn(ANY, greet_and_echo)?
        .serve_in_background()?;
    let host = new_host();
    let first = connect_from(host, ip(&server))?;
    assert_eq!(exchange(&first, ""), "hello\n");
    let client = connect_from(host, ip(&server))?;
    meanwhile(&server.handle());
    assert_eq!((&client).read_to_end(&mut Vec::new())?, 0);
    drop(first);
    let statistics = settled(&server.handle(), 2);
    assert_eq!(statistics.finished, 1);
    Ok(Ended {
        lines: lines(&logs, 2, &client.local_addr()?.to_string()),
        statistics,
    })
}

fn one_connection() -> Builder<Tcp, Concurrent> {
    ConcurrentTcpServer::builder().max_connections(1)
}

fn queue(timeout: Duration) -> OverloadPolicy {
    OverloadPolicy::Queue { length: 1, timeout }
}

#[test]
fn rejected_at_the_limit() -> io::Result<()> {
    let ended = second(one_connection().overload(OverloadPolicy::Reject), |_| {})?;
    ended.expect_lines(&[], &rejected(RejectReason::Overload));
    assert_eq!(ended.statistics.rejected.overload, 1);
    Ok(())
}

#[test]
fn rejected_after_the_queue_timeout() -> io::Result<()> {
    let ended = second(one_connection().overload(queue(SHORT)), |_| {})?;
    ended.expect_lines(&[], &rejected(RejectReason::QueueTimeout));
    assert_eq!(ended.statistics.rejected.queue_timeout, 1);
    Ok(())
}

#[test]
fn rejected_by_a_shutdown() -> io::Result<()> {
    let ended = second(one_connection().overload(queue(LONG)), |server| {
        eventually("the client is queued", || server.statistics().queued == 1);
        server.shutdown();
    })?;
    ended.expect_lines(&[], &rejected(RejectReason::Shutdown));
    assert_eq!(ended.statistics.rejected.shutdown, 1);
    Ok(())
}

#[test]
fn rejected_at_the_limit_per_ip() -> io::Result<()> {
    let ended = second(ConcurrentTcpServer::builder().max_per_ip(1), |_| {})?;
    let lines = &ended.lines;
    assert_eq!(lines[0], "DEBUG accepted");
    assert!(lines[1].starts_with("WARN rejected") && lines[1].contains("max_per_ip"));
    let end = format!("DEBUG {}", rejected(RejectReason::PerIp));
    assert_eq!((lines.len(), without_duration(&lines[2])), (3, end));
    assert_eq!(ended.statistics.rejected.per_ip, 1);
    Ok(())
}
