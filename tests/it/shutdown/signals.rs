//! Signals, with a logger that panics or is slow. Each test runs in a separate process, because it
//! sets the logger and receives signals.

use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use nix::sys::signal::{Signal, raise};
use socketserver::prelude::*;

use support::child::in_child;
use support::concurrent::ConcurrentTcpServer;
use support::{ANY, connect, exchange};

/// A logger that runs a function for each line about a signal.
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
    log::set_logger(logger).expect("no other logger is installed");
    log::set_max_level(LevelFilter::Info);
}

#[test]
fn a_signal_ends_the_server_if_the_logger_panics() {
    in_child(|| {
        set_logger(&OnSignal(|| panic!("the logger panics")));
        for _ in 0..2 {
            let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
            server
                .shutdown_on_ctrlc()
                .expect("no other signal handler is installed");
            raise(Signal::SIGTERM).expect("the signal is sent");
            server.serve_forever().expect("a shutdown is not an error");
        }
    });
}

#[test]
fn two_signals_at_once_count_as_one_with_a_slow_logger() {
    in_child(|| {
        set_logger(&OnSignal(|| thread::sleep(Duration::from_millis(300))));
        let server = ConcurrentTcpServer::bind_fn(ANY, |request| {
            writeln!(request.wfile, "begun")?;
            while !request.server.is_shutting_down() {
                thread::sleep(Duration::from_millis(1));
            }
            // Wait until the second signal is handled.
            thread::sleep(Duration::from_millis(700));
            Ok(writeln!(request.wfile, "done")?)
        });
        let server = server.expect("a port is free");
        server
            .shutdown_on_ctrlc()
            .expect("no other signal handler is installed");
        let server = server
            .serve_in_background()
            .expect("a thread can be started");
        let mut client = connect(server.server_address());
        assert_eq!(exchange(&client, ""), "begun\n");
        raise(Signal::SIGINT).expect("the signal is sent");
        raise(Signal::SIGTERM).expect("the signal is sent");
        let mut rest = String::new();
        client
            .read_to_string(&mut rest)
            .expect("the connection is not reset");
        assert_eq!(rest, "done\n");
    });
}
