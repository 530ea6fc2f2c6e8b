//! Unexpected bytes from the target of `relay`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use fastrand::Rng;
use socket2::SockRef;

use crate::clients::{connect_from, expect_echo, host};
use crate::figures::mebibytes;
use crate::random_input::{is_timeout, send_random_input};
use crate::server::Server;
use crate::{exclusive, shared};

use support::process::peak_resident;
use support::{ANY, LONG};

const CLIENTS: usize = 16;

#[test]
#[ignore = "full size"]
fn random_bytes_of_the_target() {
    let _exclusive = exclusive();
    send_to(100_000);
}

#[test]
fn a_few_random_bytes_of_the_target() {
    let _shared = shared();
    send_to(400);
}

fn send_to(connections: usize) {
    let target = TcpListener::bind(ANY).expect("a port is free");
    let timeouts = SockRef::from(&target).set_read_timeout(Some(LONG));
    timeouts.expect("the option is set");
    let address = target
        .local_addr()
        .expect("the socket is bound")
        .to_string();
    let mut relay = Server::example("relay", &address);
    let started = Instant::now();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (relay, target) = (&relay, &target);
            scope.spawn(move || send_as(client, relay, target, connections / CLIENTS));
        }
    });
    let took = started.elapsed();
    assert!(relay.is_running(), "{}", relay.log());
    still_relays(&relay, &target);
    println!(
        "relay, from the target: {connections} in {took:.1?}, then served; {} of memory at most, log of {} KiB",
        mebibytes(peak_resident(relay.pid())),
        relay.log_size() / 1024
    );
    assert!(!relay.log().contains("panicked"), "{}", relay.log());
    relay.terminate();
    assert!(relay.ended().success(), "{}", relay.log());
}

fn send_as(client: usize, relay: &Server, target: &TcpListener, times: usize) {
    let mut rng = Rng::with_seed(client as u64);
    for _ in 0..times {
        let stream = connect_from(host(client), relay.address).expect("the server accepts");
        // The target may accept the connection of another client. All clients have shut down their
        // writes before the target reads.
        let ended = run_client(&stream);
        let conversed = send_random_input(accept(target), b"hello\n", &mut rng);
        let received = io::copy(&mut (&stream).take(1 << 20), &mut io::sink());
        for error in [ended.err(), conversed.err(), received.err()] {
            assert!(
                !error.as_ref().is_some_and(is_timeout),
                "the connection does not end: {error:?}"
            );
        }
    }
}

fn run_client(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b"hello\n")?;
    stream.shutdown(Shutdown::Write)
}

fn accept(target: &TcpListener) -> TcpStream {
    let (stream, _) = target.accept().expect("the relay connects");
    stream
        .set_read_timeout(Some(LONG))
        .expect("the timeout is not zero");
    stream
        .set_write_timeout(Some(LONG))
        .expect("the timeout is not zero");
    stream
}

fn still_relays(relay: &Server, target: &TcpListener) {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, relay.address).expect("the server accepts");
    let mut target = accept(target);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut received = [0; 6];
            target
                .read_exact(&mut received)
                .expect("the relay passes the bytes on");
            target
                .write_all(&received)
                .expect("the relay passes the bytes back");
        });
        expect_echo(&mut client, "hello\n").expect("the client is served");
    });
}
