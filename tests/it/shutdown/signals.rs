//! Signals, with a logger that panics or takes long. Each test has a process of its own, for it sets the
//! logger and receives signals.

use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use nix::sys::signal::{Signal, raise};
use socketserver::prelude::*;

use support::child::in_child;
use support::{ANY, connect, exchange};

/// Runs a function for each line about a signal.
struct OnSignal(fn());

impl Log for OnSignal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.args().to_string().contains("shutting down") {
            (self.0)();
        }
    }

    fn flush(&self) {}
}

fn set_logger(logger: &'static OnSignal) {
    log::set_logger(logger).expect("there is no other");
    log::set_max_level(LevelFilter::Info);
}

#[test]
fn a_logger_that_panics_does_not_keep_a_server_from_ending() {
    in_child(|| {
        set_logger(&OnSignal(|| panic!("no log")));
        for _ in 0..2 {
            let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
            server
                .shutdown_on_ctrlc()
                .expect("there is no other handler");
            raise(Signal::SIGTERM).expect("it is a signal");
            server.serve_forever().expect("a shutdown is no error");
        }
    });
}

#[test]
fn two_signals_at_once_count_as_one_however_long_the_logger_takes() {
    in_child(|| {
        set_logger(&OnSignal(|| thread::sleep(Duration::from_millis(300))));
        let server = ThreadingTcpServer::bind_fn(ANY, |request| {
            writeln!(request.wfile, "begun")?;
            while !request.server.is_shutting_down() {
                thread::sleep(Duration::from_millis(1));
            }
            // Until the second signal has been seen.
            thread::sleep(Duration::from_millis(700));
            Ok(writeln!(request.wfile, "done")?)
        });
        let server = server.expect("a port is free");
        server
            .shutdown_on_ctrlc()
            .expect("there is no other handler");
        let server = server.serve_in_background().expect("a thread starts");
        let mut client = connect(server.server_address());
        assert_eq!(exchange(&client, ""), "begun\n");
        raise(Signal::SIGINT).expect("it is a signal");
        raise(Signal::SIGTERM).expect("it is a signal");
        let mut rest = String::new();
        client
            .read_to_string(&mut rest)
            .expect("the connection is not reset");
        assert_eq!(rest, "done\n");
    });
}
