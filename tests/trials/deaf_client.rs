//! A Unix datagram client that sends and never reads its replies, beside a regular client.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socketserver::prelude::*;

use crate::figures::Delays;
use crate::{exclusive, shared};

use support::{connect_unix_datagram, in_background, socket_path};

#[test]
#[ignore = "full size"]
fn a_datagram_client_that_never_reads() {
    let _exclusive = exclusive();
    deaf_client(Duration::from_secs(20));
}

#[test]
fn a_datagram_client_that_does_not_read_for_a_while() {
    let _shared = shared();
    deaf_client(Duration::from_secs(3));
}

/// The server has one thread, which the client blocks once.
fn deaf_client(duration: Duration) {
    let (folder, path) = socket_path();
    let server = in_background(UnixDatagramServer::bind_fn(path, |request| {
        request.wfile = request.packet.to_vec();
        Ok(())
    }));
    let deaf = UnixDatagram::bind(folder.path().join("deaf")).expect("the folder is writable");
    let server_path = server
        .server_address()
        .path()
        .expect("it has a path")
        .to_owned();
    deaf.set_write_timeout(Some(Duration::from_millis(10)))
        .expect("the timeout is not zero");
    let client = connect_unix_datagram(server.server_address(), folder.path(), "client");
    let done = AtomicBool::new(false);
    let (delays, sent) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                sent += usize::from(deaf.send_to(b"unread", &server_path).is_ok());
            }
            sent
        });
        let mut delays = Delays::default();
        let begin = Instant::now();
        while begin.elapsed() < duration {
            let started = Instant::now();
            client.send(b"hello").expect("the server is bound");
            assert_eq!(client.recv(&mut [0; 10]).expect("the server answers"), 5);
            delays.add(started.elapsed());
            thread::sleep(Duration::from_millis(50).saturating_sub(started.elapsed()));
        }
        done.store(true, Ordering::Relaxed);
        (delays, flood.join().expect("no panic"))
    });
    let stopping = Instant::now();
    let report = server.handle().shutdown_within(Duration::from_secs(5));
    println!(
        "{sent} datagrams of a client that never reads; another client: {}; shutdown after {:.1?}: {report:?}",
        delays.describe(),
        stopping.elapsed()
    );
    assert_eq!((report.forced, report.unfinished), (0, 0));
}
