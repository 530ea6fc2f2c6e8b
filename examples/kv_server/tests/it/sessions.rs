//! The example `kv_server`: conversations of one client and of several at once.

use std::thread;

use nix::sys::signal::Signal;
use support::eventually;

use crate::kv::start;
use crate::resp::{Client, encode};

#[test]
fn many_commands_are_answered_in_their_order() {
    let (_server, mut client) = start();
    let pipeline: Vec<u8> = (0..10_000)
        .flat_map(|n| encode(&["ECHO", &n.to_string()]))
        .collect();
    // At once: the replies fit into the sockets' buffers only because somebody reads them.
    let mut sender = client.stream().try_clone().expect("it can be shared");
    thread::scope(|scope| {
        scope.spawn(|| std::io::Write::write_all(&mut sender, &pipeline).expect("it reads"));
        for n in 0..10_000 {
            assert_eq!(client.reply(), format!("\"{n}\""));
        }
    });
}

/// Whatever has come whole is answered, though more has begun to come.
#[test]
fn a_reply_does_not_wait_for_the_rest_of_the_next_command() {
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
fn lines_are_commands_too() {
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

#[test]
fn everybody_sees_one_store() {
    let (server, mut client) = start();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(&server.address);
                for _ in 0..500 {
                    client.say("INCR n");
                }
            });
        }
    });
    assert_eq!(client.say("GET n"), "\"4000\"");
    assert_eq!(client.say("FLUSHALL"), "OK");
    assert_eq!(client.say("KEYS *"), "[]");
}

#[test]
fn quit_and_ctrl_c_end_connections() {
    let (server, mut client) = start();
    let mut idle = Client::connect(&server.address);
    assert_eq!(idle.say("PING"), "PONG");
    assert_eq!(client.say("QUIT"), "OK");
    assert!(client.is_closed());
    server.signal(Signal::SIGINT);
    assert!(idle.is_closed());
    assert!(server.finish().0.success());
}

#[test]
fn info_counts() {
    let (server, mut client) = start();
    client.say("MSET a 1 b 2");
    client.say("EXPIRE a 100");
    let other = Client::connect(&server.address);
    eventually("both are counted", || {
        client.say("INFO clients").contains("connected_clients:2")
    });
    drop(other);
    eventually("it has left", || {
        client.say("INFO clients").contains("connected_clients:1")
    });
    let info = client.say("INFO");
    for wanted in [
        "redis_version:",
        "db0:keys=2,expires=1",
        "total_connections_received:2",
    ] {
        assert!(info.contains(wanted), "{info}");
    }
    assert!(!client.say("INFO keyspace").contains("redis_version"));
}
