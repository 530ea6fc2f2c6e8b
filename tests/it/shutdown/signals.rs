//! Signals and a log that fails or takes its time. Each test is a process of its own, for it has the
//! log and the signals.

use std::thread;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use nix::sys::signal::{Signal, raise};
use socketserver::prelude::*;

use support::{ANY, child, connect, exchange};

/// Does what it is told with each line about a signal.
struct Odd(fn());

impl Log for Odd {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.args().to_string().contains("to end") {
            (self.0)();
        }
    }

    fn flush(&self) {}
}

fn set_log(odd: &'static Odd) {
    log::set_logger(odd).expect("there is no other");
    log::set_max_level(LevelFilter::Info);
}

/// Runs `test` in a process of its own, and what is in it.
fn alone(test: &str, act: fn()) {
    if child::is_child() {
        return act();
    }
    let output = child::run(test);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_log_that_panics_keeps_no_server_from_ending() {
    alone("a_log_that_panics_keeps_no_server_from_ending", || {
        set_log(&Odd(|| panic!("no log today")));
        for _ in 0..2 {
            let server = TcpServer::bind_fn(ANY, |_| Ok(())).expect("a port is free");
            server.shutdown_on_ctrlc().expect("nobody else handles it");
            raise(Signal::SIGTERM).expect("it is a signal");
            server.serve_forever().expect("a shutdown is no error");
        }
    });
}

#[test]
fn two_signals_at_once_count_as_one_however_long_the_log_takes() {
    alone(
        "two_signals_at_once_count_as_one_however_long_the_log_takes",
        || {
            set_log(&Odd(|| thread::sleep(Duration::from_millis(300))));
            let server = ThreadingTcpServer::bind_fn(ANY, |request| {
                writeln!(request.wfile, "begun")?;
                while !request.server.is_shutting_down() {
                    thread::sleep(Duration::from_millis(1));
                }
                // For as long as it takes to be told again.
                thread::sleep(Duration::from_millis(700));
                Ok(writeln!(request.wfile, "done")?)
            });
            let server = server.expect("a port is free");
            server.shutdown_on_ctrlc().expect("nobody else handles it");
            let server = server.serve_in_background().expect("a thread starts");
            let mut client = connect(server.server_address());
            assert_eq!(exchange(&client, ""), "begun\n");
            raise(Signal::SIGINT).expect("it is a signal");
            raise(Signal::SIGTERM).expect("it is a signal");
            let mut rest = String::new();
            client.read_to_string(&mut rest).expect("it is not cut");
            assert_eq!(rest, "done\n");
        },
    );
}
