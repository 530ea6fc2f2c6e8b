//! A logger that panics at every line, while clients come that end in every way.

use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};
use socketserver::prelude::*;

use crate::{exclusive, shared};

use support::child::in_child;
use support::handlers::echo_or_fail;
use support::{ANY, connect, eventually, exchange, in_background, read_all};

struct Panicking;

impl Log for Panicking {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &Record<'_>) {
        panic!("the logger panics");
    }

    fn flush(&self) {}
}

#[test]
#[ignore = "full size"]
fn a_logger_that_panics() {
    let _exclusive = exclusive();
    in_child(|| serve(10_000));
}

#[test]
fn a_logger_that_panics_for_a_while() {
    let _shared = shared();
    in_child(|| serve(300));
}

fn serve(clients: u64) {
    std::panic::set_hook(Box::new(|_| ()));
    log::set_logger(&Panicking).expect("no other logger is installed");
    log::set_max_level(LevelFilter::Trace);
    let server = in_background(ThreadingTcpServer::bind_fn(ANY, echo_or_fail));
    let started = Instant::now();
    for number in 0..clients {
        match number % 3 {
            0 => assert_eq!(
                exchange(connect(server.server_address()), "hello\n"),
                "hello\n"
            ),
            kind => {
                let mut client = connect(server.server_address());
                let line: &[u8] = if kind == 1 { b"fail\n" } else { b"panic\n" };
                client.write_all(line).expect("the server reads");
                assert_eq!(read_all(client), "");
            }
        }
    }
    let statistics = server.handle();
    eventually("all requests have ended", || {
        statistics.statistics().active == 0
    });
    let counted = server.handle().statistics();
    println!(
        "{clients} clients in {:.1?} with a logger that panics: {} finished, {} failed, {} panicked",
        started.elapsed(),
        counted.finished,
        counted.failed,
        counted.panicked
    );
    assert_eq!(
        counted.finished + counted.failed + counted.panicked,
        clients
    );
    server.stop().expect("serving ends without an error");
}
