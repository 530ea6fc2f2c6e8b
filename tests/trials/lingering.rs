//! Lingering close: no reply is lost at a client that still sends, and clients that never close cost
//! neither threads nor other clients' time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{connect_from, host};
use crate::figures::{Delays, mebibytes};
use crate::server::Server;
use crate::{exclusive, shared};

use support::eventually;
use support::process::{cpu_ticks, descriptors, peak_resident, threads};

/// What the thread that polls sockets waits on, once there was one.
pub const POLL_DESCRIPTORS: usize = 3;

/// The default of `max_lingering`.
const MAX_LINGERING: usize = 1024;

const MEGABYTE: usize = 1_000_000;

#[test]
#[ignore = "full size"]
fn replies_at_close() {
    let _exclusive = exclusive();
    let server = Server::example("upper_server", "");
    lost_replies(&server, 1000, MEGABYTE);
    lost_replies(&server, 100, 10 * MEGABYTE);
}

#[test]
fn a_few_replies_at_close() {
    let _shared = shared();
    lost_replies(&Server::example("upper_server", ""), 50, MEGABYTE);
}

/// The server answers the first message and closes, while the client goes on sending.
fn lost_replies(server: &Server, rounds: usize, bytes: usize) {
    let upload = |round| {
        let mut client = connect_from(host(round), server.address)?;
        client.write_all(b"hello\n")?;
        client.write_all(&vec![b'x'; bytes])?;
        let mut reply = Vec::new();
        client.read_to_end(&mut reply)?;
        std::io::Result::Ok(reply.starts_with(b"HELLO"))
    };
    let arrived = (0..rounds).filter(|round| upload(*round).is_ok_and(|arrived| arrived));
    let lost = rounds - arrived.count();
    println!("{rounds} clients that send {bytes} bytes more: {lost} replies lost");
    assert_eq!(lost, 0);
}

#[test]
#[ignore = "full size"]
fn clients_that_never_close() {
    let _exclusive = exclusive();
    never_closing(10_000);
}

#[test]
fn a_few_clients_that_never_close() {
    let _shared = shared();
    never_closing(1_500);
}

/// Each client gets its reply, keeps its side open and sends a byte now and then.
fn never_closing(count: usize) {
    let server = Server::example("upper_server", "");
    let hello = |number| greet(number, &server).expect("the client is served");
    drop(hello(0));
    let (at_rest, ticks) = (descriptors(server.pid()), cpu_ticks(server.pid()));
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..count).map(hello).collect();
    let mut delays = Delays::default();
    while begin.elapsed() < Duration::from_secs(8) {
        for client in &mut clients {
            // Fails once the server has closed it.
            let _ = client.write_all(b"x");
        }
        let started = Instant::now();
        greet(count, &server).expect("another client is served");
        delays.add(started.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
    let (threads, open) = (threads(server.pid()), descriptors(server.pid()));
    println!(
        "{count} clients that never close: {threads} threads, {} lingering, {} of memory, {:.1} s of processor time in {:.1?}; other clients: {}",
        open - at_rest,
        mebibytes(peak_resident(server.pid())),
        (cpu_ticks(server.pid()) - ticks) as f64 / 100.0,
        begin.elapsed(),
        delays.describe()
    );
    // A few are for clients that are being served.
    assert!(threads <= 50, "{threads} threads");
    assert!(open <= at_rest + MAX_LINGERING + 50, "{open} descriptors");
    drop(clients);
    eventually("all are closed", || {
        descriptors(server.pid()) <= at_rest + POLL_DESCRIPTORS
    });
}

/// A client whose connection the server has closed.
fn greet(number: usize, server: &Server) -> std::io::Result<TcpStream> {
    let mut client = connect_from(host(number), server.address)?;
    client.write_all(b"hello\n")?;
    let mut reply = Vec::new();
    client.read_to_end(&mut reply)?;
    assert!(reply.starts_with(b"HELLO"), "{}", reply.escape_ascii());
    Ok(client)
}
