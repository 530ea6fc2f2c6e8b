//! The echo server with many clients at once, and with many successive clients.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{RwLock, mpsc};
use std::thread;

use socketserver::Address;

use support::example::Example;
use support::process::{descriptors, threads};
use support::{ANY, LONG, connect, eventually, read_all, reset};

const CLIENTS: usize = 200;
const REQUESTS: usize = 100;

fn ip(example: &Example) -> Address {
    let address: SocketAddr = example.address.parse().expect("an IP address");
    address.into()
}

/// The message of client `client` in its request `number`. Each has different bytes and a different
/// length.
fn message(client: usize, number: usize) -> Vec<u8> {
    let length = 1 + (client * 37 + number * 101) % 3000;
    let byte = |at| ((client * 7 + number * 13 + at) % 256) as u8;
    (0..length).map(byte).collect()
}

fn expect_echo(stream: &mut TcpStream, client: usize, number: usize) {
    let message = message(client, number);
    stream.write_all(&message).expect("the server reads");
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert!(answer == message, "client {client}, request {number}");
}

/// Shuts down the writes, and checks that no excess bytes are received.
fn end(stream: TcpStream, client: usize) {
    let ended = stream.shutdown(Shutdown::Write);
    ended.expect("the connection is open");
    assert_eq!(read_all(stream), "", "excess bytes for client {client}");
}

#[test]
fn two_hundred_clients_at_once() {
    let example = Example::start("echo_server", &[ANY]);
    let (address, pid) = (ip(&example), example.pid());
    let (served, each_served) = mpsc::channel();
    let gate = RwLock::new(());
    thread::scope(|scope| {
        // No client continues or closes before all are connected.
        let closed = gate.write().expect("the lock is not poisoned");
        for client in 0..CLIENTS {
            let (address, gate, served) = (&address, &gate, served.clone());
            scope.spawn(move || {
                let mut stream = connect(address);
                expect_echo(&mut stream, client, 0);
                served.send(()).expect("the test receives it");
                drop(gate.read());
                for number in 1..REQUESTS {
                    expect_echo(&mut stream, client, number);
                }
                end(stream, client);
            });
        }
        for _ in 0..CLIENTS {
            each_served
                .recv_timeout(LONG)
                .expect("each client is served");
        }
        let busy = threads(pid);
        assert!(busy > CLIENTS, "{busy} threads for {CLIENTS} clients");
        drop(closed);
    });
}

/// One connection, which the client ends in one of several ways.
fn connect_and_end(address: &Address, number: usize) {
    let mut stream = connect(address);
    match number % 4 {
        // Sends nothing.
        0 => {}
        1 => {
            expect_echo(&mut stream, number, 0);
            end(stream, number);
        }
        // Closes the connection, possibly before it has received the answer.
        2 => stream.write_all(b"never mind").expect("the server reads"),
        _ => {
            expect_echo(&mut stream, number, 0);
            reset(stream);
        }
    }
}

#[test]
fn five_thousand_connections_leak_no_thread_and_no_descriptor() {
    let example = Example::start("echo_server", &[ANY]);
    let (address, pid) = (ip(&example), example.pid());
    // The server may open files while it starts.
    eventually("the server sleeps", || example.is_asleep());
    let (threads_before, descriptors_before) = (threads(pid), descriptors(pid));
    thread::scope(|scope| {
        for client in 0..10 {
            let address = &address;
            scope.spawn(move || {
                for number in 0..500 {
                    connect_and_end(address, client * 500 + number);
                }
            });
        }
    });
    eventually("all connections are closed", || {
        descriptors(pid) == descriptors_before
    });
    // Idle threads of the pool end after 10 s. The thread for the timeouts stays.
    eventually("all handler threads have ended", || {
        threads(pid) == threads_before + 1
    });
    expect_echo(&mut connect(&address), 0, 0);
}
