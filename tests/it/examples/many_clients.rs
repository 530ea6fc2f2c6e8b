//! The echo server with many clients at once, and many one after the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{RwLock, mpsc};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use socketserver::Address;

use support::example::Example;
use support::process::{descriptors, threads};
use support::{ANY, LONG, connect, eventually, read_all};

const CLIENTS: usize = 200;
const REQUESTS: usize = 100;

fn ip(example: &Example) -> Address {
    let address: SocketAddr = example.address.parse().expect("an IP address");
    address.into()
}

/// What client `client` sends in its request `number`: bytes and a length of its own.
fn message(client: usize, number: usize) -> Vec<u8> {
    let length = 1 + (client * 37 + number * 101) % 3000;
    let byte = |at| ((client * 7 + number * 13 + at) % 256) as u8;
    (0..length).map(byte).collect()
}

fn ask(stream: &mut TcpStream, client: usize, number: usize) {
    let message = message(client, number);
    stream.write_all(&message).expect("the server reads");
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert!(answer == message, "client {client}, request {number}");
}

#[test]
fn two_hundred_clients_at_once_get_every_byte_back() {
    let example = Example::start("echo_server", &[ANY]);
    let (address, pid) = (ip(&example), example.pid());
    let (served, each_served) = mpsc::channel();
    let gate = RwLock::new(());
    thread::scope(|scope| {
        // None goes on, nor closes, before all are connected.
        let closed = gate.write().expect("there is one writer");
        for client in 0..CLIENTS {
            let (address, gate, served) = (&address, &gate, served.clone());
            scope.spawn(move || {
                let mut stream = connect(address);
                ask(&mut stream, client, 0);
                served.send(()).expect("the test receives it");
                drop(gate.read());
                for number in 1..REQUESTS {
                    ask(&mut stream, client, number);
                }
                stream.shutdown(Shutdown::Write).expect("it is open");
                assert_eq!(read_all(stream), "", "client {client} got too much");
            });
        }
        for _ in 0..CLIENTS {
            each_served.recv_timeout(LONG).expect("each is served");
        }
        let busy = threads(pid);
        assert!(busy > CLIENTS, "{busy} threads for {CLIENTS} clients");
        drop(closed);
    });
}

/// One connection, which ends in one of the ways in which clients end theirs.
fn connect_again_and_again(address: &Address, number: usize) {
    let mut stream = connect(address);
    match number % 4 {
        // Sends nothing.
        0 => {}
        1 => {
            ask(&mut stream, number, 0);
            stream.shutdown(Shutdown::Write).expect("it is open");
            assert_eq!(read_all(stream), "", "connection {number} got too much");
        }
        // Closes over an answer it may not have read.
        2 => stream.write_all(b"never mind").expect("the server reads"),
        _ => {
            ask(&mut stream, number, 0);
            let reset = Some(Duration::ZERO);
            SockRef::from(&stream)
                .set_linger(reset)
                .expect("TCP can linger");
        }
    }
}

#[test]
fn five_thousand_connections_leave_no_thread_and_no_descriptor() {
    let example = Example::start("echo_server", &[ANY]);
    let (address, pid) = (ip(&example), example.pid());
    // Until it sleeps it may have files open for a moment.
    eventually("the server sleeps", || example.is_asleep());
    let (threads_before, descriptors_before) = (threads(pid), descriptors(pid));
    thread::scope(|scope| {
        for client in 0..10 {
            let address = &address;
            scope.spawn(move || {
                for number in 0..500 {
                    connect_again_and_again(address, client * 500 + number);
                }
            });
        }
    });
    eventually("all connections are closed", || {
        descriptors(pid) == descriptors_before
    });
    // Idle threads of the pool end after 10 s.
    eventually("all handlers' threads have ended", || {
        threads(pid) == threads_before
    });
    ask(&mut connect(&address), 0, 0);
}
