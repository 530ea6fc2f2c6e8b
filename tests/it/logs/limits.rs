//! Log lines about limits and attacks: they name the limit, and their rate is limited.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch, OverloadPolicy};

use support::concurrent::ConcurrentTcpServer;
use support::gate::Gate;
use support::logs::Logs;
use support::{ANY, LONG, connect, connect_from, connect_udp, eventually, in_background, read_all};

const SOON: Duration = Duration::from_millis(50);

/// The warning of a server that reaches its limit several times.
fn logged_at_the_limit(builder: Builder<Tcp, impl Dispatch>) -> String {
    let logs = Logs::from_here();
    let gate = Gate::default();
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    for _ in 0..10 {
        let mut client = connect(server.server_address());
        client.write_all(b"hello\n").expect("the kernel buffers it");
        assert_eq!(gate.next(), "hello");
        // These clients wait, are queued or are rejected, and close.
        for _ in 0..3 {
            drop(connect(server.server_address()));
        }
        gate.release(1);
        assert_eq!(read_all(client), "hello\n");
        eventually("all requests have ended", || {
            server.handle().statistics().active == 0
        });
    }
    let about = format!("{}: ", server.server_address());
    let lines = logs.with(&about);
    let [(Level::Warn, line)] = &lines[..] else {
        panic!("one warning: {lines:?}");
    };
    line.clone()
}

fn contains(line: &str, words: [&str; 3]) {
    for word in words {
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn the_limit_of_connections_is_logged_once() {
    let line = logged_at_the_limit(ConcurrentTcpServer::builder().max_connections(1));
    let setter = "max_connections";
    contains(
        &line,
        [
            "limit of 1 connections is reached",
            "new clients wait",
            setter,
        ],
    );
}

#[cfg(feature = "green")]
#[test]
fn the_limit_of_tasks_is_logged_once() {
    let line = logged_at_the_limit(GreenTcpServer::builder().max_tasks(1));
    contains(
        &line,
        [
            "the limit of tasks is reached",
            "new clients wait",
            "max_tasks",
        ],
    );
}

#[test]
fn the_limit_of_threads_is_logged_once() {
    let line = logged_at_the_limit(ThreadingTcpServer::builder().max_threads(1));
    let setter = "max_threads";
    contains(
        &line,
        ["all 1 threads are busy", "new clients wait", setter],
    );
}

#[test]
fn queued_clients_are_logged_once() {
    let policy = OverloadPolicy::Queue {
        length: 2,
        timeout: LONG,
    };
    let builder = ConcurrentTcpServer::builder().max_connections(1);
    let line = logged_at_the_limit(builder.overload(policy));
    contains(
        &line,
        [
            "limit of 1 connections is reached",
            "are queued",
            "max_connections",
        ],
    );
}

#[test]
fn rejected_clients_are_logged_once() {
    let builder = ConcurrentTcpServer::builder().max_connections(1);
    let gate = Gate::default();
    let logs = Logs::from_here();
    let builder = builder.overload(OverloadPolicy::Reject);
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n").expect("the kernel buffers it");
    assert_eq!(gate.next(), "hello");
    for _ in 0..20 {
        assert_eq!(read_all(connect(server.server_address())), "");
    }
    gate.release(1);
    let lines = logs.with(&format!("{}: ", server.server_address()));
    assert_eq!(lines.len(), 1, "{lines:?}");
    contains(
        &lines[0].1,
        [
            "limit of 1 connections is reached",
            "are rejected",
            "max_connections",
        ],
    );
}

#[test]
fn handle_request_logs_the_limit_once() {
    let logs = Logs::from_here();
    let gate = Gate::default();
    let builder = ConcurrentTcpServer::builder()
        .max_connections(1)
        .timeout(SOON);
    let server = builder
        .bind_fn(ANY, gate.handler())
        .expect("a port is free");
    let mut client = connect(server.server_address());
    client.write_all(b"hello\n").expect("the kernel buffers it");
    for _ in 0..4 {
        server.handle_request().expect("a timeout is not an error");
    }
    let lines = logs.with(&format!("{}: ", server.server_address()));
    assert_eq!(lines.len(), 1, "{lines:?}");
    gate.release(1);
}

/// The maximum number of lines since this time: the burst, and the lines of each second.
fn most_lines(since: Instant) -> usize {
    100 + 10 * (since.elapsed().as_secs() as usize + 1)
}

/// The number of suppressed lines, as the log lines report it.
fn suppressed(lines: &[(Level, String)]) -> usize {
    let text = lines.iter().filter_map(|(_, line)| {
        let (_, rest) = line.split_once(" (")?;
        rest.strip_suffix(" other lines about requests were suppressed)")?
            .parse::<usize>()
            .ok()
    });
    text.sum()
}

#[test]
fn a_thousand_failures_log_about_a_hundred_lines() {
    let logs = Logs::from_here();
    let server = in_background(ConcurrentTcpServer::bind_fn(ANY, |_| {
        Err("failure of this test".into())
    }));
    let fail = || read_all(connect(server.server_address()));
    let since = Instant::now();
    (0..1000).for_each(|_| drop(fail()));
    eventually("all requests have failed", || {
        server.handle().statistics().failed == 1000
    });
    let lines = logs.with("failure of this test").len();
    assert!((100..=most_lines(since)).contains(&lines), "{lines} lines");
    // The rate limit allows another line after this time.
    thread::sleep(4 * SOON);
    fail();
    let lines = logs.with("failure of this test");
    assert!(lines.iter().all(|(level, _)| *level == Level::Error));
    assert_eq!(lines.len() + suppressed(&lines), 1001);
}

#[test]
fn a_thousand_rejections_of_one_ip_log_about_a_hundred_lines() {
    let logs = Logs::from_here();
    let gate = Gate::default();
    let builder = ConcurrentTcpServer::builder().max_per_ip(1);
    let server = in_background(builder.bind_fn(ANY, gate.handler()));
    // No other test uses this address, so all lines about it are from this test.
    let host = Ipv4Addr::new(127, 4, 0, 1).into();
    let address = server
        .server_address()
        .socket_addr()
        .expect("the server has an IP address");
    let connect = || connect_from(host, address).expect("the server accepts");
    let mut client = connect();
    client.write_all(b"hello\n").expect("the kernel buffers it");
    assert_eq!(gate.next(), "hello");
    let since = Instant::now();
    (0..1000).for_each(|_| drop(read_all(connect())));
    let mut lines = logs.with(&format!("from {host}:"));
    lines.retain(|(_, line)| line.contains("max_per_ip"));
    assert!((100..=most_lines(since)).contains(&lines.len()));
    assert!(lines.iter().all(|(level, _)| *level == Level::Warn));
    assert_eq!(server.handle().statistics().rejected.per_ip, 1000);
    gate.release(1);
}

#[test]
fn a_thousand_truncated_datagrams_log_about_a_hundred_lines() {
    let logs = Logs::from_here();
    let builder = UdpServer::builder().max_packet_size(3);
    let server = builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b".")?;
        Ok(())
    });
    let server = in_background(server);
    let client = connect_udp(server.server_address());
    let since = Instant::now();
    for _ in 0..1000 {
        client.send(b"long").expect("the server is bound");
        client.recv(&mut [0]).expect("the server answers");
    }
    let lines = logs.with("longer than 3 bytes").len();
    assert!((100..=most_lines(since)).contains(&lines), "{lines} lines");
}
