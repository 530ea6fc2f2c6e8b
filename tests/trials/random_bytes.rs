//! Unexpected bytes for every example server. No server may crash or stop serving.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::clients::{connect_from, connect_unnamed, host};
use crate::figures::mebibytes;
use crate::random_input::{is_timeout, random_input, send_random_input};
use crate::server::Server;
use crate::targets::{TARGETS, Target, Transport};
use crate::{exclusive, shared};

use support::connect_udp;
use support::process::peak_resident;

const CLIENTS: usize = 16;

#[test]
#[ignore = "full size: takes minutes"]
fn random_bytes() {
    let _exclusive = exclusive();
    TARGETS.iter().for_each(|target| send_to(target, 100_000));
}

#[test]
fn a_few_random_bytes() {
    let _shared = shared();
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
        mebibytes(peak_resident(server.pid())),
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
    // The seed is fixed, so that a failure can be reproduced.
    let mut rng = Rng::with_seed(client as u64);
    match target.transport {
        Transport::Tcp => (0..times).for_each(|_| {
            let stream = connect_from(host(client), server.address).expect("the server accepts");
            let error = send_random_input(stream, target.request, &mut rng).err();
            assert!(
                !error.as_ref().is_some_and(is_timeout),
                "the connection does not end: {error:?}"
            );
        }),
        Transport::Udp => {
            let socket = connect_udp(&server.address.into());
            let timeout = Some(Duration::from_millis(20));
            socket
                .set_read_timeout(timeout)
                .expect("the timeout is not zero");
            (0..times).for_each(|_| send_datagram(&socket, target.request, &mut rng));
        }
        Transport::UnixDatagram => {
            let socket = connect_unnamed(&server.socket).expect("the socket is bound");
            (0..times).for_each(|_| {
                let bytes = random_input(target.request, &mut rng).unwrap_or_default();
                socket.send(&bytes).expect("the server reads");
            });
        }
    }
}

/// An empty datagram takes the place of a reset. The client waits for the answer to each datagram,
/// unless the kernel drops it, so it does not send faster than the server reads.
fn send_datagram(socket: &UdpSocket, request: &[u8], rng: &mut Rng) {
    let bytes = random_input(request, rng).unwrap_or_default();
    socket.send(&bytes).expect("the datagram is sent");
    let _ = socket.recv(&mut [0; 2000]);
}
