//! More clients than the server has descriptors for.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::connect_from;
use crate::server::{KINDS, Server};
use crate::{exclusive, shared};

use support::process::{cpu_ticks, descriptors};
use support::{eventually, read_all};

#[test]
#[ignore = "full size"]
fn out_of_descriptors() {
    let _exclusive = exclusive();
    for kind in KINDS {
        run(kind, 500, 128, Duration::from_secs(20));
    }
}

#[test]
fn out_of_descriptors_for_a_short_time() {
    let _shared = shared();
    for kind in KINDS {
        run(kind, 100, 64, Duration::from_secs(2));
    }
}

fn run(kind: &str, clients: usize, limit: usize, duration: Duration) {
    let server = Server::limited(&format!("-n {limit}"), kind, &[]);
    let clients: Vec<_> = (0..clients)
        .map(|number| connect_next(&server, number))
        .collect();
    eventually("the server is at its limit", || {
        descriptors(server.pid()) >= limit
    });
    let (started, before) = (Instant::now(), cpu_ticks(server.pid()));
    thread::sleep(duration);
    let seconds = started.elapsed().as_secs_f64();
    // A tick is 10 ms, one hundredth of a second of one core.
    let percent = (cpu_ticks(server.pid()) - before) as f64 / seconds;
    let warnings = server.log().matches("cannot accept").count();
    let count = clients.len();
    let served = serve_all(clients);
    println!(
        "{kind}: {seconds:.0} s at a limit of {limit} descriptors: {percent:.1} % of a core, {warnings} warnings; then {count} of {count} served in {served:.1?}"
    );
    assert!(percent < 5.0, "{percent} % of a core");
    assert!(warnings as f64 <= seconds + 2.0, "{}", server.log());
}

fn connect_next(server: &Server, number: usize) -> TcpStream {
    let mut client = connect_from(Ipv4Addr::LOCALHOST, server.address)
        .expect("the kernel queues the connection");
    let name = format!("client {number:04}");
    client
        .write_all(name.as_bytes())
        .expect("the kernel buffers it");
    client
}

/// Each client closes after it was served, so that another can be accepted.
fn serve_all(clients: Vec<TcpStream>) -> Duration {
    let started = Instant::now();
    for (number, client) in clients.into_iter().enumerate() {
        client
            .shutdown(std::net::Shutdown::Write)
            .expect("the connection is open");
        assert_eq!(read_all(client), format!("client {number:04}"));
    }
    started.elapsed()
}
