//! SIGTERM while clients send requests back to back. Every request that has begun is answered
//! completely.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch};

use crate::clients::{connect_from, host};
use crate::server::{KINDS, Server};
use crate::shared;

use support::{ANY, LONG, eventually, in_background, join_soon};

const CLIENTS: usize = 64;
const REQUEST: usize = 1000;
/// The time that the clients send before SIGTERM.
const BEFORE: Duration = Duration::from_millis(500);

/// The answers of one client until its connection ended.
#[derive(Default)]
struct Answers {
    answered: usize,
    /// The number of truncated answers.
    cut: usize,
}

impl Answers {
    fn add(mut self, other: Answers) -> Answers {
        self.answered += other.answered;
        self.cut += other.cut;
        self
    }
}

#[test]
fn sigterm_while_clients_send_back_to_back() {
    let _shared = shared();
    for kind in KINDS {
        terminate_three_times(kind);
    }
}

fn terminate_three_times(kind: &str) {
    for round in 1..=3 {
        let mut server = Server::echo(&format!("{kind} --drain 5"));
        let clients = send_back_to_back(server.address);
        thread::sleep(BEFORE);
        server.terminate();
        let started = Instant::now();
        let status = server.ended();
        let took = started.elapsed();
        let seen = join(clients);
        println!(
            "{kind}, round {round}: {} requests of {CLIENTS} clients answered, {} cut, exit after {took:.1?}",
            seen.answered, seen.cut
        );
        assert!(status.success(), "{}", server.log());
        assert!(seen.answered > CLIENTS, "{} answered", seen.answered);
        assert_eq!(seen.cut, 0);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(!server.log().contains("ended the connections"));
    }
}

/// Clients that send without waiting for answers do not delay the end: what they send after SIGTERM is not
/// served.
#[test]
fn sigterm_while_clients_pipeline() {
    let _shared = shared();
    for kind in KINDS {
        terminate_while_clients_pipeline(kind);
    }
}

fn terminate_while_clients_pipeline(kind: &str) {
    let mut server = Server::echo(&format!("{kind} --drain 20"));
    let pipeline = |number| {
        let client = connect_from(host(number), server.address).expect("the server accepts");
        let mut sender = client.try_clone().expect("there is a descriptor");
        thread::spawn(move || while sender.write_all(&b"again\n".repeat(1000)).is_ok() {});
        thread::spawn(move || received_until_the_end(client))
    };
    let clients: Vec<_> = (0..8).map(pipeline).collect();
    thread::sleep(BEFORE);
    server.terminate();
    let started = Instant::now();
    let status = server.ended();
    let took = started.elapsed();
    let received = clients.into_iter().map(join_soon);
    println!(
        "{kind}, 8 clients that pipeline: {} bytes of answers, exit after {took:.1?}",
        received.sum::<usize>()
    );
    assert!(status.success(), "{}", server.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!server.log().contains("by force"), "{}", server.log());
}

fn received_until_the_end(mut client: TcpStream) -> usize {
    let mut received = 0;
    let mut buffer = vec![0; 65_536];
    // The end may be a reset: the client sends on.
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        received += count;
    }
    received
}

/// The server counts requests whose first byte it has read. The clients count complete answers.
#[test]
fn every_request_that_has_begun_is_answered() {
    let _shared = shared();
    every_request_is_answered(ThreadingTcpServer::builder());
    #[cfg(feature = "green")]
    every_request_is_answered(GreenTcpServer::builder().workers(2));
}

fn every_request_is_answered<D: Dispatch>(builder: Builder<Tcp, D>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let server = builder.bind_fn(ANY, move |request| {
        let mut message = [0; REQUEST];
        while request.wait_for_data()? {
            counter.fetch_add(1, Ordering::Relaxed);
            request.rfile.read_exact(&mut message)?;
            request.wfile.write_all(&message)?;
        }
        Ok(())
    });
    let server = in_background(server);
    let address = server
        .server_address()
        .socket_addr()
        .expect("the server has an IP address");
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

/// Each message is sent in two parts, the second part after SIGTERM.
#[test]
fn requests_whose_second_part_arrives_after_sigterm() {
    let _shared = shared();
    let mut server = Server::example("framed_server", "");
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| half_a_message(n, &server)).collect();
    // The handlers have read all received bytes, and wait for the rest.
    eventually("the first parts are read", || {
        unread_bytes(server.address) == 0
    });
    server.terminate();
    eventually("the server shuts down", || {
        server.log().contains("stopped serving")
    });
    thread::sleep(Duration::from_millis(200));
    assert!(server.is_running(), "the server waits for running requests");
    for client in &mut clients {
        client.write_all(b"lo").expect("the server still reads");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the stream ends");
        assert_eq!(answer, b"\0\0\0\x05HELLO");
    }
    assert!(server.ended().success(), "{}", server.log());
    println!("{CLIENTS} of {CLIENTS} requests whose second part arrived after SIGTERM answered");
}

fn half_a_message(number: usize, server: &Server) -> TcpStream {
    let mut client = connect_from(host(number), server.address).expect("the server accepts");
    client
        .write_all(b"\0\0\0\x05hel")
        .expect("the server reads");
    client
}

/// The number of received bytes that the server has not read, from the kernel's list of sockets.
fn unread_bytes(server: SocketAddr) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("/proc is readable");
    let local = format!("0100007F:{:04X}", server.port());
    let unread = sockets.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.nth(1)? == local).then_some(())?;
        // The column has the unsent and the unread bytes in hexadecimal, with a colon between them.
        let (_, unread) = fields.nth(2)?.split_once(':')?;
        u64::from_str_radix(unread, 16).ok()
    });
    unread.sum()
}

fn send_back_to_back(server: SocketAddr) -> Vec<JoinHandle<Answers>> {
    let connect = |number| connect_from(host(number), server).expect("the server accepts");
    let clients = (0..CLIENTS).map(connect);
    let start = |client| thread::spawn(move || until_the_end(client));
    clients.map(start).collect()
}

fn join(clients: Vec<JoinHandle<Answers>>) -> Answers {
    let seen = clients
        .into_iter()
        .map(|c| c.join().expect("no client thread panics"));
    seen.fold(Answers::default(), Answers::add)
}

fn until_the_end(mut client: TcpStream) -> Answers {
    let mut seen = Answers::default();
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

/// The received bytes of an answer before the end or a reset. A server that has closed an idle
/// connection resets it if more bytes arrive.
fn answer(client: &mut TcpStream) -> usize {
    let mut received = 0;
    while received < REQUEST {
        match client.read(&mut [0; REQUEST][received..]) {
            Ok(0) => break,
            Ok(count) => received += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("neither an answer nor the end of the stream")
            }
            Err(_) => break,
        }
    }
    received
}
