//! The example `http_server` and clients that send too much or too slowly, or never read.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use std::{iter, thread};

use support::process;

use crate::site::{Client, Site, TEXT, ask, ask_raw};

support::for_threads_and_green! {
    a_slow_header_is_a_timeout
    clients_that_do_not_read_use_no_memory
    a_file_truncated_during_a_download_closes_the_connection
}

/// The last byte of each header is the first byte over the limit.
#[test]
fn a_header_has_a_maximum_length() {
    let site = Site::new();
    let server = site.serve();
    let start = "GET /a.txt HTTP/1.1\r\nConnection: close\r\n";
    let line = format!("A: {}\r\n", "b".repeat(995));
    let available = 65_536 - start.len() - 2;
    let fields = line.repeat(available / line.len());
    let filled = fields.len() + "A: \r\n".len();
    let last = |extra: usize| format!("A: {}\r\n", "b".repeat(available - filled + extra));
    for (request, status) in [
        (format!("{start}{fields}{}\r\n", last(0)), 200),
        (format!("{start}{fields}{}\r\n", last(1)), 431),
        (format!("{start}{}\r\n", "A: b\r\n".repeat(99)), 200),
        (format!("{start}{}\r\n", "A: b\r\n".repeat(100)), 431),
        (format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(60_000)), 404),
        ("\0".repeat(65_537), 414),
        ("\r\n\r\n".into(), 400),
        ("GET /a.txt\r\n\r\n".into(), 400),
        ("\x16\x03\x01\x02\n\r\n".into(), 400),
    ] {
        let answer = ask_raw(&server.address, &request).expect("the server answers");
        assert_eq!(answer.status, status, "{request:.60?}");
    }
}

/// A client that sends a byte now and then would not exceed the timeout of a single read.
fn a_slow_header_is_a_timeout(options: &[&str]) {
    let site = Site::new();
    let server = site.serve_with(options);
    // The client is slow once, and then idle for less than the limit.
    let mut idle = Client::new(&server.address);
    for piece in ["GET /a.txt HTTP", "/1.1\r\n", "\r\n"] {
        idle.send(piece);
    }
    assert_eq!(idle.receive().text(), TEXT);
    let begin = Instant::now();
    let mut silent = Client::new(&server.address);
    silent.send("GET / HTTP/1.1\r\n");
    let slow = support::connect_to(&server.address);
    let mut answer = String::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while (&slow).write_all(b"A").is_ok() {
                thread::sleep(Duration::from_millis(200));
            }
        });
        let _ = (&slow).take(20).read_to_string(&mut answer);
        let _ = slow.shutdown(Shutdown::Both);
    });
    assert_eq!(answer, "HTTP/1.1 408 Request");
    assert_eq!(silent.receive().status, 408);
    assert!(begin.elapsed() >= Duration::from_secs(10));
    assert_eq!(idle.get("/a.txt").text(), TEXT);
}

/// The server keeps only a part of each file in memory.
fn clients_that_do_not_read_use_no_memory(options: &[&str]) {
    let site = Site::new();
    let big = File::create(site.path().join("big.bin")).expect("the temporary folder is writable");
    big.set_len(1 << 30)
        .expect("a sparse file uses no disk space");
    let server = site.serve_with(options);
    let asleep = iter::repeat_with(|| {
        let mut client = Client::new(&server.address);
        client.send("GET /big.bin HTTP/1.1\r\n\r\n".repeat(20));
        assert_eq!(client.receive_head().status, 200);
        client
    });
    let asleep: Vec<_> = asleep.take(100).collect();
    assert_eq!(Client::new(&server.address).get("/a.txt").text(), TEXT);
    let resident = process::resident(server.pid());
    assert!(resident < 64 << 10, "{resident} KiB");
    drop(asleep);
}

#[test]
fn a_file_can_be_larger_than_the_memory() {
    let site = Site::new();
    let big = File::create(site.path().join("big.bin")).expect("the temporary folder is writable");
    big.set_len(1 << 40)
        .expect("a sparse file uses no disk space");
    big.write_all_at(b"the end", (1 << 40) - 7)
        .expect("the file is ours");
    let server = site.serve();
    let mut client = Client::new(&server.address);
    client.send("HEAD /big.bin HTTP/1.1\r\n\r\n");
    let head = client.receive_head();
    assert_eq!(head.field("content-length"), Some("1099511627776"));
    let part = ask(&server.address, "GET /big.bin\nRange: bytes=-7").expect("the server answers");
    assert_eq!((part.status, part.text()), (206, "the end"));
    let listing = ask(&server.address, "GET /").expect("the server answers");
    assert!(listing.text().contains("1.10 TB"), "{}", listing.text());
}

/// The client does not wait for the rest, and gets no other bytes as the rest.
fn a_file_truncated_during_a_download_closes_the_connection(options: &[&str]) {
    let site = Site::new();
    let big = File::create(site.path().join("big.bin")).expect("the temporary folder is writable");
    big.set_len(1 << 30)
        .expect("a sparse file uses no disk space");
    let server = site.serve_with(options);
    let mut client = Client::new(&server.address);
    client.send("GET /big.bin HTTP/1.1\r\n\r\nGET /a.txt HTTP/1.1\r\n\r\n");
    assert_eq!(client.receive_head().status, 200);
    big.set_len(0).expect("the file is ours");
    let rest = client.rest();
    assert!(rest.len() < 1 << 30 && rest.iter().all(|byte| *byte == 0));
}
