//! SIGTERM while clients send requests back to back: what has begun is answered in full.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socketserver::prelude::*;

use crate::alone;
use crate::clients::{connect_from, host};
use crate::server::Server;

use support::{ANY, LONG, eventually, in_background};

const CLIENTS: usize = 64;
const REQUEST: usize = 1000;
/// How long the clients go on before SIGTERM.
const BEFORE: Duration = Duration::from_millis(500);

/// What one client saw until its connection ended.
#[derive(Default)]
struct Seen {
    answered: usize,
    /// Answers that began and did not end.
    cut: usize,
}

impl Seen {
    fn add(mut self, other: Seen) -> Seen {
        self.answered += other.answered;
        self.cut += other.cut;
        self
    }
}

#[test]
fn sigterm_while_clients_send_back_to_back() {
    let _alone = alone();
    for round in 1..=3 {
        let mut server = Server::echo("--drain 5");
        let clients = send_back_to_back(server.address);
        thread::sleep(BEFORE);
        server.terminate();
        let started = Instant::now();
        let status = server.ended();
        let took = started.elapsed();
        let seen = join(clients);
        println!(
            "round {round}: {} requests of {CLIENTS} clients answered, {} cut, exit after {took:.1?}",
            seen.answered, seen.cut
        );
        assert!(status.success(), "{}", server.log());
        assert!(seen.answered > CLIENTS, "{} answered", seen.answered);
        assert_eq!(seen.cut, 0);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(!server.log().contains("ended the connections"));
    }
}

/// The server counts whose first byte it has read; the clients count whole answers.
#[test]
fn as_many_requests_are_answered_as_have_begun() {
    let _alone = alone();
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let server = ThreadingTcpServer::bind_fn(ANY, move |request| {
        let mut message = [0; REQUEST];
        while request.wait_for_data()? {
            counter.fetch_add(1, Ordering::Relaxed);
            request.rfile.read_exact(&mut message)?;
            request.wfile.write_all(&message)?;
        }
        Ok(())
    });
    let server = in_background(server);
    let address = server.server_address().socket_addr().expect("IP");
    let clients = send_back_to_back(address);
    thread::sleep(BEFORE);
    let report = server.handle().shutdown_within(LONG);
    let seen = join(clients);
    let begun = begun.load(Ordering::Relaxed);
    println!(
        "{begun} requests begun, {} answered: {report:?}",
        seen.answered
    );
    assert_eq!((seen.answered, seen.cut), (begun, 0));
    assert_eq!((report.forced, report.unfinished), (0, 0));
}

/// Each message is sent in two parts, the second one only after SIGTERM.
#[test]
fn requests_whose_second_part_comes_after_sigterm() {
    let _alone = alone();
    let mut server = Server::example("framed_server", "");
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| half_a_message(n, &server)).collect();
    // Its handlers have read all there is, and wait for the rest.
    eventually("the first parts are read", || {
        unread_bytes(server.address) == 0
    });
    server.terminate();
    eventually("it shuts down", || server.log().contains("stopped serving"));
    thread::sleep(Duration::from_millis(200));
    assert!(server.is_running(), "it waits for what has begun");
    for client in &mut clients {
        client.write_all(b"lo").expect("it still reads");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the end");
        assert_eq!(answer, b"\0\0\0\x05HELLO");
    }
    assert!(server.ended().success(), "{}", server.log());
    println!("{CLIENTS} of {CLIENTS} requests whose second part came after SIGTERM answered");
}

fn half_a_message(number: usize, server: &Server) -> TcpStream {
    let mut client = connect_from(host(number), server.address).expect("it accepts");
    client.write_all(b"\0\0\0\x05hel").expect("it reads");
    client
}

/// What has arrived for the server's connections and was not read, by the kernel's list.
fn unread_bytes(server: SocketAddr) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let local = format!("0100007F:{:04X}", server.port());
    let unread = sockets.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.nth(1)? == local).then_some(())?;
        // Sent and unread, in hexadecimal, with a colon between them.
        let (_, unread) = fields.nth(2)?.split_once(':')?;
        u64::from_str_radix(unread, 16).ok()
    });
    unread.sum()
}

fn send_back_to_back(server: SocketAddr) -> Vec<JoinHandle<Seen>> {
    let connect = |number| connect_from(host(number), server).expect("it accepts");
    let clients = (0..CLIENTS).map(connect);
    let start = |client| thread::spawn(move || until_the_end(client));
    clients.map(start).collect()
}

fn join(clients: Vec<JoinHandle<Seen>>) -> Seen {
    let seen = clients
        .into_iter()
        .map(|c| c.join().expect("no client fails"));
    seen.fold(Seen::default(), Seen::add)
}

fn until_the_end(mut client: TcpStream) -> Seen {
    let mut seen = Seen::default();
    while client.write_all(&[b'.'; REQUEST]).is_ok() {
        match answer(&mut client) {
            REQUEST => seen.answered += 1,
            0 => break,
            _ => {
                seen.cut += 1;
                break;
            }
        }
    }
    seen
}

/// How much of an answer came before the end, be that a reset: a server that has ended an idle
/// connection does not take what is sent then.
fn answer(client: &mut TcpStream) -> usize {
    let mut received = 0;
    while received < REQUEST {
        match client.read(&mut [0; REQUEST][received..]) {
            Ok(0) => break,
            Ok(count) => received += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("no answer, no end"),
            Err(_) => break,
        }
    }
    received
}
