//! The example `kv_server`: keys, expiry, and the memory limit.

use support::example::{self, Example};
use support::process::resident;
use support::{ANY, eventually};

use crate::PROGRAM;
use crate::kv::{run_commands, start};
use crate::resp::Client;

#[test]
fn keys_are_found_by_pattern() {
    let (_server, mut client) = start();
    client.run("MSET one 1 two 2 three 3 t*o 4 [x] 5");
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
        let reply = client.run(&format!("KEYS {pattern}"));
        let mut found: Vec<_> = reply[1..reply.len() - 1].split(", ").collect();
        found.sort_unstable();
        assert_eq!(found.join(" ").replace('"', ""), expected, "{pattern}");
    }
}

#[test]
fn keys_are_counted_and_have_a_type() {
    let (_server, mut client) = start();
    run_commands(
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
fn expired_keys_are_removed() {
    let (_server, mut client) = start();
    run_commands(
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
    eventually("the keys expire", || client.run("EXISTS b l") == "0");
    assert_eq!(client.run("KEYS *"), "[\"kept\"]");
}

#[test]
fn a_full_store_refuses_writes_until_memory_is_freed() {
    let server = Example::start(PROGRAM, &[ANY, "--max-memory", "1"]);
    let mut client = Client::connect(&server.address);
    // What a small command adds does not fit beside it.
    let large = vec![b'x'; (1 << 20) - 390];
    assert_eq!(client.call(&[b"SET", &b"large"[..], &large]), "OK");
    let refused = "(error) OOM command not allowed when used memory > 'maxmemory'.";
    run_commands(
        &mut client,
        &format!(
            "SET a 1 => {refused}
            LPUSH l 1 => {refused}
            EXISTS large a l => 1
            DEL large => 1
            SET a 1 => OK
            LPUSH l 1 => 1
            INFO memory => \"# Memory\\r\\nused_memory:452\\r\\nmaxmemory:1048576\\r\\nmem_clients_normal:0\\r\\n\"
            LPOP l => \"1\"
            DEL a => 1
            INFO memory => \"# Memory\\r\\nused_memory:0\\r\\nmaxmemory:1048576\\r\\nmem_clients_normal:0\\r\\n\""
        ),
    );
}

/// Such a store would be full with its first key.
#[test]
fn a_memory_limit_of_zero_is_refused() {
    let output = example::run(PROGRAM, &[ANY, "--max-memory", "0"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--max-memory"), "{stderr}");
}

/// The memory of expired keys is freed, even if no client reads them.
#[test]
fn expired_keys_use_no_memory() {
    let mut command = example::command(PROGRAM, &[ANY]);
    // With this setting the C library returns freed memory to the system.
    command.env("MALLOC_MMAP_THRESHOLD_", "1000000");
    let server = Example::launch(command);
    let mut client = Client::connect(&server.address);
    let large = vec![b'x'; 8 << 20];
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for key in keys {
        assert_eq!(client.call(&[b"SET", key.as_bytes(), &large]), "OK");
    }
    assert!(resident(server.pid()) > 60 << 10);
    for key in keys {
        assert_eq!(client.run(&format!("EXPIRE {key} 1")), "1");
    }
    eventually("the memory is freed", || resident(server.pid()) < 40 << 10);
}
