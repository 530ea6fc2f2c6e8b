//! The example `kv_server`: sessions of one client, and of several clients at once.

use std::thread;

use nix::sys::signal::Signal;
use support::eventually;

use crate::kv::{start, start_with};
use crate::resp::{Client, encode};

support::for_threads_and_green! {
    pipelined_commands_are_answered_in_order
    all_clients_share_one_store
    quit_and_ctrl_c_end_connections
}

fn pipelined_commands_are_answered_in_order(options: &[&str]) {
    let (_server, mut client) = start_with(options);
    let pipeline: Vec<u8> = (0..10_000)
        .flat_map(|n| encode(&["ECHO", &n.to_string()]))
        .collect();
    // The client sends and reads at the same time, because the replies do not fit into the socket
    // buffers.
    let mut sender = client
        .stream()
        .try_clone()
        .expect("the socket can be cloned");
    thread::scope(|scope| {
        scope
            .spawn(|| std::io::Write::write_all(&mut sender, &pipeline).expect("the server reads"));
        for n in 0..10_000 {
            assert_eq!(client.reply(), format!("\"{n}\""));
        }
    });
}

/// A complete command is answered before the next command is complete.
#[test]
fn a_reply_does_not_wait_for_the_next_command() {
    let (_server, mut client) = start();
    let next = encode(&["ECHO", "next"]);
    for cut in 1..next.len() {
        client.send([&b"PING\r\n"[..], &next[..cut]].concat());
        assert_eq!(client.reply(), "PONG", "{cut}");
        client.send(&next[cut..]);
        assert_eq!(client.reply(), "\"next\"", "{cut}");
    }
}

#[test]
fn inline_commands() {
    let (_server, mut client) = start();
    for (line, expected) in [
        ("PING\r\n", "PONG"),
        ("\r\n\n  \nPING\n", "PONG"),
        ("  ECHO\thello  \r\n", "\"hello\""),
        ("ECHO \"two words\"\n", "\"two words\""),
        (r#"ECHO "\x41\n\"\q""#, r#""A\n\"q""#),
        (r"ECHO 'it\'s \n'", r#""it\'s \\n""#),
        ("ECHO ''", "\"\""),
    ] {
        client.send(format!("{}\n", line.trim_end_matches('\n')));
        assert_eq!(client.reply(), expected, "{line}");
    }
    client.send("*0\r\n*-1\r\nPING\r\n");
    assert_eq!(client.reply(), "PONG");
}

fn all_clients_share_one_store(options: &[&str]) {
    let (server, mut client) = start_with(options);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(&server.address);
                for _ in 0..500 {
                    client.run("INCR n");
                }
            });
        }
    });
    assert_eq!(client.run("GET n"), "\"4000\"");
    assert_eq!(client.run("FLUSHALL"), "OK");
    assert_eq!(client.run("KEYS *"), "[]");
}

fn quit_and_ctrl_c_end_connections(options: &[&str]) {
    let (server, mut client) = start_with(options);
    let mut idle = Client::connect(&server.address);
    assert_eq!(idle.run("PING"), "PONG");
    assert_eq!(client.run("QUIT"), "OK");
    assert!(client.is_closed());
    server.signal(Signal::SIGINT);
    assert!(idle.is_closed());
    assert!(server.finish().0.success());
}

#[test]
fn info_counts_keys_and_clients() {
    let (server, mut client) = start();
    client.run("MSET a 1 b 2");
    client.run("EXPIRE a 100");
    let other = Client::connect(&server.address);
    eventually("both are counted", || {
        client.run("INFO clients").contains("connected_clients:2")
    });
    drop(other);
    eventually("the client has disconnected", || {
        client.run("INFO clients").contains("connected_clients:1")
    });
    let info = client.run("INFO");
    for wanted in [
        "redis_version:",
        "db0:keys=2,expires=1",
        "total_connections_received:2",
    ] {
        assert!(info.contains(wanted), "{info}");
    }
    assert!(!client.run("INFO keyspace").contains("redis_version"));
}
