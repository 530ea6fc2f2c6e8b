//! Unexpected bytes at every example server: none may crash, none may stop serving.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::alone;
use crate::clients::{connect_from, connect_unnamed, host};
use crate::figures::mebibytes;
use crate::random_input::{converse, is_timeout, random_input};
use crate::server::Server;
use crate::targets::{TARGETS, Target, Transport};

use support::connect_udp;
use support::process::most_resident;

const CLIENTS: usize = 16;

#[test]
#[ignore = "of full size: minutes"]
fn random_bytes() {
    let _alone = alone();
    TARGETS.iter().for_each(|target| send_to(target, 100_000));
}

#[test]
fn a_few_random_bytes() {
    let _alone = alone();
    TARGETS.iter().for_each(|target| send_to(target, 400));
}

fn send_to(target: &Target, connections: usize) {
    let (mut server, _behind) = target.start();
    (target.check)(&server);
    let started = Instant::now();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || send_as(client, server, target, connections / CLIENTS));
        }
    });
    let took = started.elapsed();
    let name = format!(
        "{} over {:?}, {:?}",
        target.example, target.transport, target.options
    );
    assert!(server.is_running(), "{name}: {}", server.log());
    (target.check)(&server);
    println!(
        "{name}: {connections} in {took:.1?}, then served; {} of memory at most, log of {} KiB",
        mebibytes(most_resident(server.pid())),
        server.log_size() / 1024
    );
    assert!(
        !server.log().contains("panicked"),
        "{name}: {}",
        server.log()
    );
    server.terminate();
    assert!(server.ended().success(), "{name}: {}", server.log());
}

fn send_as(client: usize, server: &Server, target: &Target, times: usize) {
    // Always the same bytes: what fails once fails again.
    let mut rng = Rng::with_seed(client as u64);
    match target.transport {
        Transport::Tcp => (0..times).for_each(|_| {
            let stream = connect_from(host(client), server.address).expect("it accepts");
            let error = converse(stream, target.request, &mut rng).err();
            assert!(!error.as_ref().is_some_and(is_timeout), "no end: {error:?}");
        }),
        Transport::Udp => {
            let socket = connect_udp(&server.address.into());
            let patience = Some(Duration::from_millis(20));
            socket.set_read_timeout(patience).expect("not zero");
            (0..times).for_each(|_| send_datagram(&socket, target.request, &mut rng));
        }
        Transport::UnixDatagram => {
            let socket = connect_unnamed(&server.socket).expect("it is bound");
            (0..times).for_each(|_| {
                let bytes = random_input(target.request, &mut rng).unwrap_or_default();
                socket.send(&bytes).expect("it reads");
            });
        }
    }
}

/// An empty one stands for the reset. Each is answered, unless the kernel drops it: so they do not
/// come faster than they are read.
fn send_datagram(socket: &UdpSocket, request: &[u8], rng: &mut Rng) {
    let bytes = random_input(request, rng).unwrap_or_default();
    socket.send(&bytes).expect("loopback takes it");
    let _ = socket.recv(&mut [0; 2000]);
}
