//! A logger that panics, or an error whose text panics, costs a log line and nothing else. Most tests
//! run in a separate process, because they set its logger, and because a second panic would abort it.

use std::error::Error;
use std::fmt;
use std::io::pipe;
use std::os::fd::AsFd;
use std::panic::{self, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::unistd::dup2_stdout;
use socketserver::dispatch::{Inline, Job};
use socketserver::listener::{Tcp, Udp, Unix};
use socketserver::prelude::*;
use socketserver::{BackgroundServer, Dispatch, Server};

use support::child::in_child;
use support::concurrent::{Concurrent, ConcurrentTcpServer};
use support::counts::{outcomes, settled};
use support::handlers::{begin, block, counts, echo_line};
use support::kind::{Client, Kind, LineRequest};
use support::logs::Logs;
use support::{ANY, connect, connect_from, exchange, in_background, read_all, socket_folder};

use super::requests::{ip, new_host};

/// A logger that passes the text of each line to a function.
struct Logger(fn(&dyn fmt::Display));

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        (self.0)(record.args());
    }

    fn flush(&self) {}
}

fn set_logger(log: fn(&dyn fmt::Display)) {
    // Without backtraces, whose symbols take a second where the machine is busy.
    panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let logger = Box::leak(Box::new(Logger(log)));
    log::set_logger(logger).expect("no other logger is installed");
    log::set_max_level(LevelFilter::Debug);
}

fn panic_always(_: &dyn fmt::Display) {
    panic!("the logger panics");
}

/// A handler that ends in the way that its client names.
fn respond<R: LineRequest>(request: &mut R) -> HandlerResult {
    match &*request.read_message()? {
        "fail" => Err("requested by the test".into()),
        "panic" => panic!("requested by the test"),
        line => Ok(request.write_message(line)?),
    }
}

/// Checks that a server serves clients of every outcome, and ends without an error.
fn serves<L: Kind, D: Dispatch + Default>() {
    let folder = socket_folder();
    let server = in_background(Server::<L, D>::bind_fn(L::address(folder.path()), respond));
    for (count, line) in (1..).zip(["first", "fail", "panic"]) {
        let mut client = L::connect(server.server_address());
        client.send_line(line);
        settled(&server.handle(), count);
    }
    let mut client = L::connect(server.server_address());
    assert_eq!(client.exchange("last"), "last");
    let counted = settled(&server.handle(), 4);
    assert_eq!(outcomes(&counted), [2, 1, 1, 0, 0]);
    server.stop().expect("serving ends without an error");
}

#[test]
fn a_logger_that_panics_affects_no_server() {
    in_child(|| {
        set_logger(panic_always);
        serves::<Tcp, Inline>();
        serves::<Tcp, Concurrent>();
        serves::<Unix, Concurrent>();
        serves::<Udp, Inline>();
        serves::<Udp, Concurrent>();
    });
}

#[test]
fn a_logger_whose_filter_panics_affects_no_server() {
    struct Filter;
    impl Log for Filter {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            panic!("the filter panics")
        }
        fn log(&self, _: &Record<'_>) {}
        fn flush(&self) {}
    }
    in_child(|| {
        log::set_logger(&Filter).expect("no other logger is installed");
        log::set_max_level(LevelFilter::Debug);
        serves::<Tcp, Concurrent>();
    });
}

/// The forced close logs on the thread for timers, and the end of the server on that which serves.
#[test]
fn a_logger_that_panics_does_not_stop_a_shutdown() {
    in_child(|| {
        set_logger(panic_always);
        let server = in_background(ConcurrentTcpServer::bind_fn(ANY, block));
        let _clients = ["read", "loop"].map(|how| begin(server.server_address(), how));
        let report = server.handle().shutdown_within(Duration::from_millis(10));
        assert_eq!(counts(report), (0, 1, 1));
        server.stop().expect("serving ends without an error");
    });
}

/// A program that panics drops its server, which logs that a request does not end.
#[test]
fn a_logger_that_panics_during_another_panic_does_not_abort() {
    in_child(|| {
        set_logger(panic_always);
        // Nothing is logged before the program panics.
        log::set_max_level(LevelFilter::Info);
        let unwound = catch_unwind(|| {
            let builder =
                ConcurrentTcpServer::builder().shutdown_timeout(Duration::from_millis(10));
            let server = builder.bind_fn(ANY, block).expect("a port is free");
            let mut client = connect(server.server_address());
            client.write_all(b"loop\n").expect("the kernel buffers it");
            server.handle_request().expect("one request is served");
            assert_eq!(exchange(&client, ""), "begun\n");
            panic!("the program panics");
        });
        assert!(unwound.is_err());
    });
}

/// A dispatcher that panics, and so drops its job while it unwinds, for the first client only.
#[derive(Default)]
struct PanicsOnce(Mutex<bool>);

impl Dispatch for PanicsOnce {
    fn dispatch(&self, job: Job) {
        let has_panicked = {
            let mut has_panicked = self.0.lock().expect("no thread panics with the lock");
            std::mem::replace(&mut *has_panicked, true)
        };
        assert!(has_panicked, "the dispatcher panics");
        job.run();
    }
}

#[test]
fn a_logger_that_panics_about_a_job_dropped_in_a_panic_does_not_abort() {
    in_child(|| {
        set_logger(panic_always);
        let server = in_background(Server::<Tcp, PanicsOnce>::bind_fn(ANY, echo_line));
        assert_eq!(read_all(connect(server.server_address())), "");
        assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
        let counted = settled(&server.handle(), 2);
        assert_eq!((counted.rejected.dispatch, counted.finished), (1, 1));
    });
}

/// Whoever started the program has ended, and reads its output no longer.
#[test]
fn a_logger_that_prints_to_a_closed_pipe_affects_no_server() {
    in_child(|| {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.expect("a descriptor is free");
        let (reader, writer) = pipe().expect("a descriptor is free");
        drop(reader);
        dup2_stdout(writer).expect("both are open");
        set_logger(|line| println!("{line}"));
        serves::<Tcp, Inline>();
        serves::<Tcp, Concurrent>();
        log::set_max_level(LevelFilter::Off);
        dup2_stdout(stdout).expect("both are open");
    });
}

/// An error that panics in one of its methods.
#[derive(Debug)]
enum Faulty {
    Text,
    Source,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Faulty::Text => panic!("in the text of an error"),
            Faulty::Source => f.write_str("an error with a faulty source"),
        }
    }
}

impl Error for Faulty {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Faulty::Text => None,
            Faulty::Source => panic!("in the source of an error"),
        }
    }
}

fn fail_oddly(request: &mut StreamRequest) -> HandlerResult {
    match &*request.read_message()? {
        "text" => Err(Faulty::Text.into()),
        "source" => Err(Faulty::Source.into()),
        line => Ok(request.write_message(line)?),
    }
}

/// The log lines about one client that sends `line`; the error is counted as one.
fn logged_of(server: &BackgroundServer, line: &str) -> Vec<(Level, String)> {
    let logs = Logs::from_here();
    let before = server.handle().statistics();
    let client = connect_from(new_host(), ip(server)).expect("the server accepts");
    let address = client.local_addr().expect("the socket is connected");
    assert_eq!(exchange(&client, &format!("{line}\n")), "");
    let after = settled(&server.handle(), before.accepted + 1);
    assert_eq!(after.failed, before.failed + 1);
    let mut lines = logs.with(&format!("from {address}: "));
    lines.retain(|(level, _)| *level != Level::Debug);
    lines
}

#[test]
fn an_error_whose_text_or_source_panics_is_counted_and_logged() {
    for server in [
        in_background(TcpServer::bind_fn(ANY, fail_oddly)),
        in_background(ConcurrentTcpServer::bind_fn(ANY, fail_oddly)),
    ] {
        let lines = logged_of(&server, "text");
        assert_eq!(lines.len(), 1, "{lines:?}");
        let end = ": handle failed: (this text panicked: in the text of an error)";
        assert!(lines[0].1.ends_with(end), "{lines:?}");
        let lines = logged_of(&server, "source");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].1.contains("in the source of an error"),
            "{lines:?}"
        );
        assert_eq!(exchange(connect(server.server_address()), "hi\n"), "hi\n");
        server.stop().expect("serving ends without an error");
    }
}

/// Many loggers format a line while they hold a lock, which a panic poisons for all later lines.
#[test]
fn an_error_whose_text_panics_does_not_poison_the_logger() {
    static LINES: Mutex<String> = Mutex::new(String::new());
    in_child(|| {
        set_logger(|line| {
            let mut lines = LINES.lock().expect("the lock is not poisoned");
            fmt::write(&mut *lines, format_args!("{line}\n")).expect("memory is free");
        });
        let server = in_background(ConcurrentTcpServer::bind_fn(ANY, fail_oddly));
        for line in ["text\n", "hi\n", "text\n"] {
            let _ = exchange(connect(server.server_address()), line);
        }
        settled(&server.handle(), 3);
        server.stop().expect("serving ends without an error");
        let lines = LINES.lock().expect("the lock is not poisoned");
        assert_eq!(lines.matches("handle failed: ").count(), 2, "{lines}");
        assert!(lines.contains("stopped serving"), "{lines}");
    });
}
