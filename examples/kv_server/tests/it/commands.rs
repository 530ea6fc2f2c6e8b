//! The example `kv_server`: the replies to each command.

use crate::kv::{run_commands, start, start_with};

support::for_threads_and_green! {
    string_commands
    list_commands
}

const NOT_AN_INTEGER: &str = "(error) ERR value is not an integer or out of range";
const WRONG_TYPE: &str =
    "(error) WRONGTYPE Operation against a key holding the wrong kind of value";

fn string_commands(options: &[&str]) {
    let (_server, mut client) = start_with(options);
    run_commands(
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
    assert_eq!(client.run("SET empty "), "OK");
    assert_eq!(client.run("GET empty"), "\"\"");
}

#[test]
fn set_options() {
    let (_server, mut client) = start();
    run_commands(
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
    assert_eq!(client.run("SET a 6 EX soon"), NOT_AN_INTEGER);
}

#[test]
fn incr_accepts_plain_integers_only() {
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
        assert_eq!(client.run("INCR n"), NOT_AN_INTEGER, "{odd:?}");
    }
    run_commands(
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

fn list_commands(options: &[&str]) {
    let (_server, mut client) = start_with(options);
    run_commands(
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
    assert_eq!(client.run("LRANGE l 0 end"), NOT_AN_INTEGER);
}

#[test]
fn a_command_for_another_type_is_refused() {
    let (_server, mut client) = start();
    run_commands(&mut client, "SET text x => OK\nRPUSH list x => 1");
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
        assert_eq!(client.run(command), WRONG_TYPE, "{command}");
    }
    for command in ["GET list", "INCR list"] {
        assert_eq!(client.run(command), WRONG_TYPE, "{command}");
    }
    run_commands(
        &mut client,
        r#"MGET text list => ["x", nil]
        SET list y => OK
        GET list => "y""#,
    );
}

#[test]
fn wrong_arguments_and_unknown_commands_are_refused() {
    let (_server, mut client) = start();
    for command in [
        "get", "echo", "set", "incr", "mget", "mset", "lpush", "lrange", "lpop", "rpop", "llen",
        "del", "ttl", "pttl", "type",
    ] {
        let expected = format!("(error) ERR wrong number of arguments for '{command}' command");
        assert_eq!(client.run(&command.to_uppercase()), expected);
    }
    let unknown = "(error) ERR unknown command 'FLY', with args beginning with: 'to' 'mars' ";
    assert_eq!(client.run("FLY to mars"), unknown);
    run_commands(
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
