//! The example `kv_server`: the limits of its memory, and patterns that take long.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::example::{self, Example};
use support::process::{is_asleep, peak_resident};
use support::{ANY, LONG, eventually, unacknowledged};

use crate::PROGRAM;
use crate::resp::{Client, encode};

support::for_threads_and_green! {
    replies_that_nobody_reads_have_a_limit
    clients_that_read_the_same_value_at_once_get_it
    a_client_that_does_not_read_is_disconnected_once
    commands_that_do_not_end_have_a_limit
    keys_does_not_hold_up_other_clients
    keys_gives_up_when_its_client_is_gone
    keys_gives_up_when_its_client_is_gone_after_more_commands
}

/// The limits of [`start`], and what each client and the program itself use, in KiB.
const MOST: u64 = (16 + 16 + 24) << 10;

fn start(options: &[&str]) -> Example {
    let limits = ["--max-memory", "16", "--max-client-memory", "16"];
    let mut command = example::command(PROGRAM, &[&[ANY], &limits[..], options].concat());
    // With this setting the C library returns freed memory to the system.
    command.env("MALLOC_MMAP_THRESHOLD_", "131072");
    Example::launch(command)
}

fn peak_is_low(server: &Example, what: &str) {
    let peak = peak_resident(server.pid());
    assert!(peak < MOST, "{what}: {peak} KiB");
}

/// A client that sends commands and reads no reply. The server may close the connection meanwhile.
fn silent(server: &Example, commands: &[u8]) -> TcpStream {
    let mut stream = support::connect_to(&server.address);
    let _ = stream.write_all(commands);
    stream
}

/// Each list was long and has one element left.
#[test]
fn lists_that_have_shrunk_use_no_memory() {
    let server = start(&[]);
    let mut client = Client::connect(&server.address);
    let push = |list: &str| encode(&[&["RPUSH", list][..], &[""; 50_000]].concat());
    for n in 0..32 {
        let list = format!("list {n}");
        client.send([push(&list), push(&list)].concat());
        assert_eq!([client.reply(), client.reply()], ["50000", "100000"]);
        // In two pieces, from both ends.
        let popped = client.call(&["LPOP", &list, "50000"]);
        assert_eq!(popped.len(), 4 * 50_000, "{n}");
        let popped = client.call(&["RPOP", &list, "49999"]);
        assert_eq!(popped.len(), 4 * 49_999, "{n}");
    }
    assert_eq!(client.run("DBSIZE"), "32");
    peak_is_low(&server, "lists");
}

/// Each client gets another value, which is not in the store any longer.
fn replies_that_nobody_reads_have_a_limit(options: &[&str]) {
    let server = start(options);
    let mut refused = 0;
    let mut clients = Vec::new();
    for n in 0..40 {
        let mut writer = Client::connect(&server.address);
        let value = vec![b'x'; 7 << 20];
        writer.send_if_open(encode(&[b"SET", &b"large"[..], &value]));
        refused += u32::from(writer.reply_if_any().is_none_or(|reply| reply != "OK"));
        let get = encode(&["GET", "large"]).repeat(4);
        clients.push(silent(&server, &[&get, &b"PING\r\n"[..]].concat()));
        peak_is_low(&server, &format!("value {n}"));
    }
    assert!(refused > 0, "the limit is reached");
    // Small commands still work.
    let mut client = Client::connect(&server.address);
    assert_eq!(client.run("SET a 1"), "OK");
    assert_eq!(client.run("GET a"), "\"1\"");
    // The clients that do not read are disconnected, so another attempt succeeds.
    eventually("a large value can be set", || {
        let mut writer = Client::connect(&server.address);
        writer.send_if_open(encode(&[b"SET", &b"large"[..], &vec![b'y'; 7 << 20]]));
        writer.reply_if_any().is_some_and(|reply| reply == "OK")
    });
    drop(clients);
    eventually("the memory is free again", || {
        client.run("INFO memory").contains("mem_clients_normal:0")
    });
    assert_eq!(client.run("GET large").len(), (7 << 20) + 2);
}

/// Values of this size, each larger than half of the limit for clients in [`with_values`].
const VALUE: usize = 700 << 10;

fn with_values(options: &[&str]) -> Example {
    let limit = [ANY, "--max-client-memory", "1"];
    let server = Example::start(PROGRAM, &[&limit, options].concat());
    let mut client = Client::connect(&server.address);
    for key in ["a", "b"] {
        let set = [&b"SET"[..], key.as_bytes(), &[b'x'; VALUE]];
        assert_eq!(client.call(&set), "OK");
    }
    server
}

/// Reads a reply to GET: whether it is the value, or the error about memory.
fn is_value(stream: &mut impl BufRead) -> bool {
    let mut line = String::new();
    stream.read_line(&mut line).expect("the server answers");
    if line.starts_with("-OOM ") {
        return false;
    }
    assert_eq!(line, format!("${VALUE}\r\n"));
    let mut reply = stream.take(VALUE as u64 + 2);
    let read = io::copy(&mut reply, &mut io::sink()).expect("the server answers");
    assert_eq!(read, VALUE as u64 + 2);
    true
}

/// One client for each key reads its value many times. Returns how often there was no memory.
fn read_at_once(server: &Example, keys: &[&str]) -> usize {
    let read = |key: &str| {
        let mut stream = BufReader::new(support::connect_to(&server.address));
        let get = encode(&["GET", key]);
        let refused = |_: &u32| {
            let sent = stream.get_mut().write_all(&get);
            sent.expect("the server reads");
            !is_value(&mut stream)
        };
        (0..100).filter(refused).count()
    };
    thread::scope(|scope| {
        let read = &read;
        let readers: Vec<_> = keys
            .iter()
            .map(|key| scope.spawn(move || read(key)))
            .collect();
        let refused = readers
            .into_iter()
            .map(|reader| reader.join().expect("it reads"));
        refused.sum()
    })
}

/// All replies with one value share it, so together they are below the limit.
fn clients_that_read_the_same_value_at_once_get_it(options: &[&str]) {
    assert_eq!(read_at_once(&with_values(options), &["a"; 8]), 0);
}

/// Some commands get an error. Each of the replies that were begun ends.
#[test]
fn clients_that_read_are_not_disconnected() {
    let server = with_values(&[]);
    read_at_once(&server, &["a", "b", "a", "b"]);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let (_, _, log) = server.finish();
    assert!(!log.contains("is dropped"), "{log}");
}

/// Another client gets many errors until the connection has ended.
fn a_client_that_does_not_read_is_disconnected_once(options: &[&str]) {
    let server = with_values(options);
    let stalled = silent(&server, &encode(&["GET", "a"]).repeat(40));
    // It has its share before the other client comes.
    let mut first = [0];
    stalled.peek(&mut first).expect("the server answers");
    assert_eq!(&first, b"$");
    let mut info = Client::connect(&server.address);
    let mut other = BufReader::new(support::connect_to(&server.address));
    eventually("the client is disconnected", || {
        let get = encode(&["GET", "b"]).repeat(50);
        other.get_mut().write_all(&get).expect("the server reads");
        for _ in 0..50 {
            is_value(&mut other);
        }
        info.run("INFO clients").contains("connected_clients:2\\r")
    });
    drop(stalled);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let (_, _, log) = server.finish();
    assert_eq!(log.matches("is dropped").count(), 1, "{log}");
}

/// The elements are small, and there are many.
#[test]
fn long_arrays_that_nobody_reads_have_a_limit() {
    let server = start(&[]);
    let mut client = Client::connect(&server.address);
    for _ in 0..4 {
        client.call(&[&["RPUSH", "list"][..], &["x"; 50_000]].concat());
    }
    let clients: Vec<_> = (0..40)
        .map(|_| silent(&server, &encode(&["LRANGE", "list", "0", "-1"]).repeat(4)))
        .collect();
    eventually("all clients are served", || is_asleep(server.pid()));
    peak_is_low(&server, "arrays");
    drop(clients);
}

/// All but the last byte of large commands.
fn commands_that_do_not_end_have_a_limit(options: &[&str]) {
    let server = start(options);
    let mut command = encode(&[b"ECHO", &vec![b'x'; 7 << 20][..]]);
    command.pop();
    let clients: Vec<_> = (0..20).map(|_| silent(&server, &command)).collect();
    eventually("all is received", || is_asleep(server.pid()));
    peak_is_low(&server, "commands");
    let mut client = Client::connect(&server.address);
    let large = vec![b'x'; 7 << 20];
    client.send_if_open(encode(&[b"ECHO", &large[..]]));
    let reply = client.reply_if_any();
    assert!(reply.is_none_or(|reply| reply.starts_with("(error) OOM")));
    drop(clients);
}

/// Comparing this pattern with this key takes longer than the test.
fn slow_search(server: &Example) -> TcpStream {
    let mut client = Client::connect(&server.address);
    let key = vec![b'a'; 4 << 20];
    assert_eq!(client.call(&[b"SET", &key[..], b""]), "OK");
    let pattern = [b"*", &b"a".repeat(2 << 20)[..], b"b"].concat();
    silent(server, &encode(&[b"KEYS", &pattern[..]]))
}

fn keys_gives_up_when_its_client_is_gone(options: &[&str]) {
    keys_gives_up(b"", options);
}

fn keys_gives_up_when_its_client_is_gone_after_more_commands(options: &[&str]) {
    // More than the server's buffer holds, and less than the system's.
    keys_gives_up(&b"PING\r\n".repeat(3000), options);
}

/// With `--green` one of them at least has the same thread as the search.
fn keys_does_not_hold_up_other_clients(options: &[&str]) {
    let server = Example::start(PROGRAM, &[&[ANY], options].concat());
    let _searching = slow_search(&server);
    eventually("the search runs", || !is_asleep(server.pid()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let others = std::iter::repeat_with(|| Client::connect(&server.address));
    for mut other in others.take(cores + 1).collect::<Vec<_>>() {
        assert_eq!(other.run("PING"), "PONG");
    }
}

fn keys_gives_up(behind: &[u8], options: &[&str]) {
    // Sometimes the server's system takes nothing more while the search runs. Then it does not learn either
    // that the client is gone.
    let reached = (0..10).any(|_| {
        let server = Example::start(PROGRAM, &[&[ANY], options].concat());
        let mut searching = slow_search(&server);
        eventually("the search runs", || !is_asleep(server.pid()));
        searching.write_all(behind).expect("there is room");
        let mut other = Client::connect(&server.address);
        assert_eq!(other.run("PING"), "PONG");
        if !is_received(&searching) {
            return false;
        }
        drop(searching);
        eventually("the search has ended", || {
            is_asleep(server.pid()) && other.run("INFO clients").contains("connected_clients:1\\r")
        });
        server.signal(nix::sys::signal::Signal::SIGTERM);
        let (status, _, log) = server.finish();
        assert!(status.success() && !log.contains("ERROR"), "{log}");
        true
    });
    assert!(reached, "the server's system takes the commands");
}

/// Whether the server's system has everything within a second.
fn is_received(client: &TcpStream) -> bool {
    let begun = Instant::now();
    while unacknowledged(client) > 0 {
        if begun.elapsed() > Duration::from_secs(1) {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// A pattern with many stars, and the longest set.
#[test]
fn patterns_take_no_exponential_time() {
    let server = Example::start(PROGRAM, &[ANY]);
    let mut client = Client::connect(&server.address);
    let key = "a".repeat(1000);
    client.run(&format!("SET {key} 1"));
    let begin = Instant::now();
    let stars = format!("{}b", "a*".repeat(500));
    assert_eq!(client.run(&format!("KEYS {stars}")), "[]");
    let set = format!("*[{}]", "b".repeat(1000));
    assert_eq!(client.run(&format!("KEYS {set}")), "[]");
    assert_eq!(
        client.run(&format!("KEYS {}", "*a".repeat(1000))),
        format!("[\"{key}\"]")
    );
    assert!(begin.elapsed() < LONG);
}
