//! The example `http_server`: connections, the log, and the shutdown.

use std::io::BufRead;
use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::example::{self, Example};
use support::{connect_to, eventually, read_all};

use crate::PROGRAM;
use crate::site::{Client, Site, TEXT, ask, ask_raw};

support::for_threads_and_green! {
    a_connection_serves_several_requests
    pipelined_and_fragmented_requests
    an_idle_connection_is_closed
    a_download_finishes_during_a_shutdown
    answers_say_that_the_connection_ends
    pipelined_requests_are_answered_during_a_drain_delay
    no_request_is_lost_when_a_drain_delay_begins
}

fn a_connection_serves_several_requests(options: &[&str]) {
    let site = Site::new();
    let big: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
    site.add("big.bin", &big);
    let server = site.serve_with(options);
    let mut client = Client::new(&server.address);
    for _ in 0..3 {
        let answer = client.get("/a.txt");
        assert_eq!((answer.status, answer.text()), (200, TEXT));
        assert_eq!(answer.field("connection"), Some("keep-alive"));
        assert!(client.get("/big.bin").body == big);
        assert_eq!(client.get("/missing").status, 404);
        client.send("HEAD /big.bin HTTP/1.1\r\n\r\n");
        assert_eq!(
            client.receive_head().field("content-length"),
            Some("300000")
        );
        client.send(
            "GET /a.txt HTTP/1.1\r\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n",
        );
        assert_eq!(client.receive_head().status, 304);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(client.rest(), b"");
    assert!(server.finish().0.success());
}

fn pipelined_and_fragmented_requests(options: &[&str]) {
    let site = Site::new();
    let server = site.serve_with(options);
    let mut client = Client::new(&server.address);
    client.send("GET /a.txt HTTP/1.1\r\n\r\n".repeat(50));
    for _ in 0..50 {
        assert_eq!(client.receive().text(), TEXT);
    }
    for byte in b"\r\nGET /a.txt HTTP/1.1\r\nA: b\r\n\r\nGET /no HTTP/1.1\n\n" {
        client.send([*byte]);
    }
    assert_eq!(client.receive().text(), TEXT);
    assert_eq!(client.receive().status, 404);
}

#[test]
fn the_request_determines_keep_alive() {
    let site = Site::new();
    let server = site.serve();
    for (request, keep_alive) in [
        ("GET / HTTP/1.1\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nConnection: upgrade, Close\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        // The server does not read bodies, so it cannot find the request after one.
        ("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /", false),
        (
            "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nGET /",
            false,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            false,
        ),
        // After an invalid request, the next one cannot be found either.
        ("invalid\r\n\r\n", false),
    ] {
        let mut client = Client::new(&server.address);
        client.send(request);
        let word = if keep_alive { "keep-alive" } else { "close" };
        assert_eq!(
            client.receive().field("connection"),
            Some(word),
            "{request}"
        );
        if keep_alive {
            assert_eq!(client.get("/a.txt").text(), TEXT, "{request}");
        } else {
            assert_eq!(client.rest(), b"", "{request}");
        }
    }
}

/// A proxy could take another number for the body's length, and so see other requests than the server.
#[test]
fn an_invalid_content_length_is_refused() {
    let site = Site::new();
    let server = site.serve();
    for (fields, is_valid) in [
        ("Content-Length: 5, 6", false),
        ("Content-Length: 5\r\nContent-Length: 6", false),
        ("Content-Length: 0\r\nContent-Length: 5", false),
        ("Content-Length: +5", false),
        ("Content-Length: -5", false),
        ("Content-Length:", false),
        ("Content-Length: ", false),
        ("Content-Length: 5,", false),
        ("Content-Length: five", false),
        ("Content-Length: 0x5", false),
        ("Content-Length: 5 5", false),
        ("Content-Length: 5.0", false),
        ("Content-Length: \u{664}", false),
        ("Content-Length: 18446744073709551616", false),
        ("Content-Length: x\r\nTransfer-Encoding: chunked", false),
        ("Content-Length: 5", true),
        ("Content-Length: \t 5 ", true),
        ("Content-Length: 5, 5", true),
        ("Content-Length: 5\r\ncontent-length: 5", true),
        ("Content-Length: 5\r\nContent-Length: 005", true),
    ] {
        let mut client = Client::new(&server.address);
        client.send(format!(
            "GET /a.txt HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
        ));
        let answer = client.receive();
        let status = if is_valid { 200 } else { 400 };
        assert_eq!(answer.status, status, "{fields}");
        // What follows may be a body or a request, and gets no answer.
        assert_eq!(answer.field("connection"), Some("close"), "{fields}");
        assert_eq!(client.rest(), b"", "{fields}");
    }
    // No body, so the next request is found.
    for fields in ["Content-Length: 0", "Content-Length: 0, 00"] {
        let mut client = Client::new(&server.address);
        client.send(format!("GET /a.txt HTTP/1.1\r\n{fields}\r\n\r\n"));
        assert_eq!(client.receive().status, 200, "{fields}");
        assert_eq!(client.get("/a.txt").text(), TEXT, "{fields}");
    }
}

#[test]
fn connections_have_a_limit() {
    let site = Site::new();
    let server = site.serve_with(&["--max-connections", "3", "--per-ip", "2"]);
    let mut served = [Client::new(&server.address), Client::new(&server.address)];
    for client in &mut served {
        assert_eq!(client.get("/a.txt").text(), TEXT);
    }
    assert_eq!(Client::new(&server.address).rest(), b"");
}

fn an_idle_connection_is_closed(options: &[&str]) {
    let site = Site::new();
    let server = site.serve_with(&[&["--idle-timeout", "1"], options].concat());
    let silent = Client::new(&server.address);
    let mut client = Client::new(&server.address);
    let begin = Instant::now();
    client.get("/a.txt");
    assert_eq!((client.rest(), silent.rest()), (vec![], vec![]));
    let elapsed = begin.elapsed().as_secs_f32();
    assert!((0.9..10.0).contains(&elapsed), "{elapsed} s");
    server.signal(Signal::SIGTERM);
    let (_, _, log) = server.finish();
    assert!(!log.contains("ERROR"), "{log}");
}

fn a_download_finishes_during_a_shutdown(options: &[&str]) {
    let site = Site::new();
    let big = vec![b'x'; 30_000_000];
    site.add("big.bin", &big);
    let server = site.serve_with(options);
    let mut client = Client::new(&server.address);
    client.send("GET /big.bin HTTP/1.1\r\n\r\n");
    let answer = client.receive_head();
    server.signal(Signal::SIGTERM);
    assert_eq!(answer.field("content-length"), Some("30000000"));
    assert!(client.rest() == big);
    assert!(server.finish().0.success());
}

#[test]
fn requests_are_not_logged_by_default() {
    let site = Site::new();
    let server = site.serve();
    ask(&server.address, "GET /a.txt").expect("the server answers");
    ask_raw(&server.address, "invalid\r\n\r\n").expect("the server answers");
    server.signal(Signal::SIGTERM);
    let (_, _, log) = server.finish();
    assert!(!log.contains("/a.txt") && !log.contains(" 400"), "{log}");
}

#[test]
fn a_missing_directory_is_an_error() {
    let output = example::run(PROGRAM, &["127.0.0.1:0", "--directory", "/nowhere"]);
    let message = String::from_utf8(output.stderr).expect("the output is text");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.starts_with("http_server: cannot serve /nowhere: "),
        "{message}"
    );
    let output = example::run(PROGRAM, &["--idle-timeout", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Serves with health checks and a long delay. Returns the addresses of the checks too.
fn serve_checked(site: &Site, options: &[&str]) -> (Example, String, String) {
    let checks = ["--agent", "127.0.0.1:0", "--health", "127.0.0.1:0"];
    let delay = ["--drain-delay", "3600"];
    let mut server = site.serve_with(&[&checks[..], &delay, options].concat());
    let mut next = || {
        let mut line = String::new();
        let read = server.stdout.read_line(&mut line);
        read.expect("the output is text");
        let address = line.trim_end().strip_prefix("health checks on ");
        address.expect("it prints the address").to_owned()
    };
    let (agent, health) = (next(), next());
    (server, agent, health)
}

fn answers_say_that_the_connection_ends(options: &[&str]) {
    let site = Site::new();
    let (server, agent, health) = serve_checked(&site, options);
    let check = || {
        let answer = Client::new(&health).get("/");
        (read_all(connect_to(&agent)), answer.status)
    };
    assert_eq!(check(), ("up\n".to_owned(), 200));
    let mut used = Client::new(&server.address);
    assert_eq!(used.get("/a.txt").field("connection"), Some("keep-alive"));
    server.signal(Signal::SIGTERM);
    eventually("the check says so", || {
        check() == ("down\n".to_owned(), 503)
    });
    for mut client in [used, Client::new(&server.address)] {
        let answer = client.get("/a.txt");
        assert_eq!((answer.status, answer.text()), (200, TEXT));
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(client.rest(), b"");
    }
    // Ends the delay. Signals within 0.1 s would count as one.
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::SIGTERM);
    assert!(server.finish().0.success());
}

/// All that have arrived, and only the last answer says that the connection ends.
fn pipelined_requests_are_answered_during_a_drain_delay(options: &[&str]) {
    const REQUESTS: usize = 1000;
    let site = Site::new();
    let (server, agent, _) = serve_checked(&site, options);
    server.signal(Signal::SIGTERM);
    eventually("the check says so", || {
        read_all(connect_to(&agent)) == "down\n"
    });
    let mut client = Client::new(&server.address);
    client.send("GET /a.txt HTTP/1.1\r\n\r\n".repeat(REQUESTS));
    let mut answers = vec![client.receive()];
    // The client is not faster than the server from here on.
    while answers.last().and_then(|answer| answer.field("connection")) == Some("keep-alive") {
        answers.push(client.receive());
    }
    assert!(answers.iter().all(|answer| answer.text() == TEXT));
    assert_eq!(client.rest(), b"");
    assert_eq!(answers.len(), REQUESTS);
}

/// Clients that ask without a pause, and follow what the answers say.
fn no_request_is_lost_when_a_drain_delay_begins(options: &[&str]) {
    let site = Site::new();
    let (server, ..) = serve_checked(&site, options);
    let ask = || {
        let mut connections = 0;
        let mut client = Client::new(&server.address);
        while connections < 20 {
            let answer = client.get("/a.txt");
            assert_eq!((answer.status, answer.text()), (200, TEXT));
            if answer.field("connection") == Some("close") {
                connections += 1;
                let ended = mem::replace(&mut client, Client::new(&server.address));
                assert_eq!(ended.rest(), b"");
            }
        }
    };
    thread::scope(|scope| {
        let clients = [(); 8].map(|()| scope.spawn(ask));
        thread::sleep(Duration::from_millis(50));
        assert!(!clients.iter().any(|client| client.is_finished()));
        server.signal(Signal::SIGTERM);
    });
}
