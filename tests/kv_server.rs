//! The example `kv_server`: what each command answers, and when.

#[path = "support/launch.rs"]
mod launch;
#[path = "support/resp.rs"]
mod resp;
mod support;

use std::fs;
use std::thread;

use nix::sys::signal::Signal;
use resp::{Client, encode};
use support::eventually;
use support::example::{self, Example};

fn start() -> (Example, Client) {
    let server = Example::start("kv_server", &["127.0.0.1:0"]);
    let client = Client::connect(&server.address);
    (server, client)
}

/// Each line is a command, and behind `=>` its reply; `~100` is a time that may have run for a while.
fn converse(client: &mut Client, conversation: &str) {
    for line in conversation.lines().map(str::trim) {
        let (words, expected) = line.split_once(" => ").expect("WORDS => REPLY");
        let reply = client.say(words);
        match expected.strip_prefix('~') {
            None => assert_eq!(reply, expected, "{words}"),
            Some(most) => {
                let most: i64 = most.parse().expect("a number");
                let left: i64 = reply.parse().expect("a number");
                assert!((most - most / 5..=most).contains(&left), "{words}: {left}");
            }
        }
    }
}

const NOT_AN_INTEGER: &str = "(error) ERR value is not an integer or out of range";
const WRONG_TYPE: &str =
    "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn strings_are_set_got_and_counted_up() {
    let (_server, mut client) = start();
    converse(
        &mut client,
        r#"PING => PONG
        ping hello => "hello"
        ECHO hello => "hello"
        GET a => nil
        SET a 1 => OK
        gEt a => "1"
        INCR a => 2
        INCR new => 1
        MSET a x b y a z => OK
        MGET a b c => ["z", "y", nil]
        EXISTS a a c => 2
        DEL a a c => 1
        GET a => nil"#,
    );
    let binary: Vec<u8> = (0..=255).collect();
    assert_eq!(client.call(&[b"SET", &*binary, &*binary]), "OK");
    let expected = format!("\"{}\"", binary.escape_ascii());
    assert_eq!(client.call(&[b"GET", &*binary]), expected);
    assert_eq!(client.say("SET empty "), "OK");
    assert_eq!(client.say("GET empty"), "\"\"");
}

#[test]
fn set_obeys_its_options() {
    let (_server, mut client) = start();
    converse(
        &mut client,
        r#"SET a 1 XX => nil
        SET a 1 nx => OK
        SET a 2 NX => nil
        SET a 3 xx ex 100 => OK
        TTL a => ~100
        SET a 4 PX 50000 => OK
        TTL a => ~50
        SET a 5 => OK
        TTL a => -1
        SET a 6 NX XX => (error) ERR syntax error
        SET a 6 EX => (error) ERR syntax error
        SET a 6 EX 1 PX 1 => (error) ERR syntax error
        SET a 6 NOW => (error) ERR syntax error
        SET a 6 EX 0 => (error) ERR invalid expire time in 'set' command
        SET a 6 PX -1 => (error) ERR invalid expire time in 'set' command
        SET a 6 EX 9223372036854775807 => (error) ERR invalid expire time in 'set' command
        GET a => "5""#,
    );
    assert_eq!(client.say("SET a 6 EX soon"), NOT_AN_INTEGER);
}

#[test]
fn only_plain_integers_are_counted_up() {
    let (_server, mut client) = start();
    for odd in [
        "x",
        "",
        " 1",
        "1 ",
        "+1",
        "01",
        "-0",
        "1.0",
        "9223372036854775808",
    ] {
        assert_eq!(client.call(&["SET", "n", odd]), "OK");
        assert_eq!(client.say("INCR n"), NOT_AN_INTEGER, "{odd:?}");
    }
    converse(
        &mut client,
        "SET n -9223372036854775808 => OK
        INCR n => -9223372036854775807
        SET n 9223372036854775807 EX 100 => OK
        INCR n => (error) ERR increment or decrement would overflow
        SET n 5 EX 100 => OK
        INCR n => 6
        TTL n => ~100",
    );
}

#[test]
fn lists_grow_at_both_ends() {
    let (_server, mut client) = start();
    converse(
        &mut client,
        r#"LPUSH l b a => 2
        RPUSH l c d e => 5
        LRANGE l 0 -1 => ["a", "b", "c", "d", "e"]
        LRANGE l 1 2 => ["b", "c"]
        LRANGE l -2 100 => ["d", "e"]
        LRANGE l -100 -4 => ["a", "b"]
        LRANGE l 3 1 => []
        LRANGE l 5 9 => []
        LRANGE l -9223372036854775808 9223372036854775807 => ["a", "b", "c", "d", "e"]
        LRANGE none 0 -1 => []
        LLEN l => 5
        LLEN none => 0
        LPOP l => "a"
        LPOP l 2 => ["b", "c"]
        LPOP l 0 => []
        LPOP l -1 => (error) ERR value is out of range, must be positive
        LPOP l 9223372036854775807 => ["d", "e"]
        EXISTS l => 0
        LPOP l => nil
        LPOP l 2 => nil
        RPUSH l a b c d => 4
        RPOP l => "d"
        RPOP l 2 => ["c", "b"]
        RPOP l 0 => []
        RPOP l x => (error) ERR value is out of range, must be positive
        RPOP l 9 => ["a"]
        EXISTS l => 0
        RPOP l => nil
        RPOP l 2 => nil"#,
    );
    assert_eq!(client.say("LRANGE l 0 end"), NOT_AN_INTEGER);
}

#[test]
fn keys_are_counted_and_have_a_type() {
    let (_server, mut client) = start();
    converse(
        &mut client,
        "DBSIZE => 0
        TYPE a => none
        SET a 1 => OK
        RPUSH l x => 1
        TYPE a => string
        TYPE l => list
        DBSIZE => 2
        LPOP l => \"x\"
        DBSIZE => 1",
    );
}

#[test]
fn a_command_for_the_other_type_is_refused() {
    let (_server, mut client) = start();
    converse(&mut client, "SET text x => OK\nRPUSH list x => 1");
    for command in [
        "LPUSH text y",
        "RPUSH text y",
        "LRANGE text 0 1",
        "LPOP text",
        "LPOP text 1",
        "RPOP text",
        "RPOP text 1",
        "LLEN text",
    ] {
        assert_eq!(client.say(command), WRONG_TYPE, "{command}");
    }
    for command in ["GET list", "INCR list"] {
        assert_eq!(client.say(command), WRONG_TYPE, "{command}");
    }
    converse(
        &mut client,
        r#"MGET text list => ["x", nil]
        SET list y => OK
        GET list => "y""#,
    );
}

#[test]
fn wrong_words_are_refused() {
    let (_server, mut client) = start();
    for command in [
        "get", "echo", "set", "incr", "mget", "mset", "lpush", "lrange", "lpop", "rpop", "llen",
        "del", "ttl", "pttl", "type",
    ] {
        let expected = format!("(error) ERR wrong number of arguments for '{command}' command");
        assert_eq!(client.say(&command.to_uppercase()), expected);
    }
    let unknown = "(error) ERR unknown command 'FLY', with args beginning with: 'to' 'mars' ";
    assert_eq!(client.say("FLY to mars"), unknown);
    converse(
        &mut client,
        "GET a b => (error) ERR wrong number of arguments for 'get' command
        PING a b => (error) ERR wrong number of arguments for 'ping' command
        MSET a 1 b => (error) ERR wrong number of arguments for 'mset' command
        FLUSHALL now => (error) ERR syntax error
        SELECT 1 => (error) ERR DB index is out of range
        CONFIG SET a b => (error) ERR unknown subcommand 'SET'. Try CONFIG HELP.
        HELLO 4 => (error) NOPROTO unsupported protocol version
        EXPIRE a 1 NX => (error) ERR Unsupported option NX
        PING => PONG",
    );
}

#[test]
fn what_has_expired_is_gone() {
    let (_server, mut client) = start();
    converse(
        &mut client,
        "TTL a => -2
        PTTL a => -2
        EXPIRE a 100 => 0
        SET a 1 => OK
        TTL a => -1
        PTTL a => -1
        EXPIRE a 100 => 1
        TTL a => ~100
        PTTL a => ~100000
        EXPIRE a 9223372036854775807 => (error) ERR invalid expire time in 'expire' command
        EXPIRE a -1 => 1
        EXISTS a => 0
        SET b 1 PX 100 => OK
        SET kept 1 PX 100 => OK
        SET kept 2 => OK
        RPUSH l x => 1
        EXPIRE l 1 => 1",
    );
    eventually("they expire", || client.say("EXISTS b l") == "0");
    assert_eq!(client.say("KEYS *"), "[\"kept\"]");
}

#[test]
fn a_full_store_takes_nothing_until_there_is_room() {
    let server = Example::start("kv_server", &["127.0.0.1:0", "--max-memory", "1"]);
    let mut client = Client::connect(&server.address);
    let large = vec![b'x'; 1 << 20];
    assert_eq!(client.call(&[b"SET", &b"large"[..], &large]), "OK");
    let refused = "(error) OOM command not allowed when used memory > 'maxmemory'.";
    converse(
        &mut client,
        &format!(
            "SET a 1 => {refused}
            LPUSH l 1 => {refused}
            EXISTS large a l => 1
            DEL large => 1
            SET a 1 => OK
            LPUSH l 1 => 1
            INFO memory => \"# Memory\\r\\nused_memory:308\\r\\nmaxmemory:1048576\\r\\n\"
            LPOP l => \"1\"
            DEL a => 1
            INFO memory => \"# Memory\\r\\nused_memory:0\\r\\nmaxmemory:1048576\\r\\n\""
        ),
    );
}

/// It would be full with its first key.
#[test]
fn a_store_of_nothing_is_refused() {
    let output = example::run("kv_server", &["127.0.0.1:0", "--max-memory", "0"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--max-memory"), "{said}");
}

/// Nobody asks for it, and its memory is free again.
#[test]
fn what_has_expired_takes_no_memory() {
    let mut command = example::command("kv_server", &["127.0.0.1:0"]);
    // Has the C library give back to the system what is freed.
    command.env("MALLOC_MMAP_THRESHOLD_", "1000000");
    let server = launch::launch(command);
    let mut client = Client::connect(&server.address);
    let large = vec![b'x'; 8 << 20];
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for key in keys {
        assert_eq!(client.call(&[b"SET", key.as_bytes(), &large]), "OK");
    }
    assert!(memory(&server) > 60 << 20);
    for key in keys {
        assert_eq!(client.say(&format!("EXPIRE {key} 1")), "1");
    }
    eventually("it is freed", || memory(&server) < 40 << 20);
}

/// What a process has in memory, in bytes.
fn memory(server: &Example) -> usize {
    let sizes = fs::read_to_string(format!("/proc/{}/statm", server.pid())).expect("it lives");
    let pages = sizes.split(' ').nth(1).expect("the resident size");
    pages.parse::<usize>().expect("a number") * 4096
}

#[test]
fn keys_are_found_by_pattern() {
    let (_server, mut client) = start();
    client.say("MSET one 1 two 2 three 3 t*o 4 [x] 5");
    for (pattern, expected) in [
        ("*", "[x] one t*o three two"),
        ("t*", "t*o three two"),
        ("t?o", "t*o two"),
        (r"t\*o", "t*o"),
        ("*e", "one three"),
        ("*e*e*", "three"),
        ("[ot]*", "one t*o three two"),
        ("[^o]*", "[x] t*o three two"),
        ("t[a-z]o", "two"),
        ("t[z-a]o", "two"),
        (r"[\[]*", "[x]"),
        (r"\[*", "[x]"),
        ("one", "one"),
        ("on", ""),
        ("onee", ""),
        ("[o", ""),
        ("[one", ""),
        ("*?*", "[x] one t*o three two"),
        ("??????", ""),
    ] {
        let reply = client.say(&format!("KEYS {pattern}"));
        let mut found: Vec<_> = reply[1..reply.len() - 1].split(", ").collect();
        found.sort_unstable();
        assert_eq!(found.join(" ").replace('"', ""), expected, "{pattern}");
    }
}

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
    assert!(launch::ended(server).0.success());
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
