//! The steps of a handler: which of them run after an error or a panic in another step, and in
//! which order.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use socketserver::prelude::*;
use socketserver::{RequestError, Stage};

/// How a step ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Well,
    Error,
    Panic,
}

use End::{Error, Panic, Well};

use support::event_log::EventLog;
use support::{ANY, connect, in_background, next, read_all};

/// A handler that records its steps. Each step ends in the given way.
struct RecordSteps {
    event_log: EventLog,
    ends: [End; 3],
}

impl RecordSteps {
    fn step(&self, name: &str, end: End) -> HandlerResult {
        self.event_log.record(name);
        match end {
            Well => Ok(()),
            Error => Err(name.into()),
            Panic => panic!("{name}"),
        }
    }
}

impl RequestHandler for RecordSteps {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.step("setup", self.ends[0])
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        request.wfile.write_all(b"from handle")?;
        self.step("handle", self.ends[1])
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.step("finish", self.ends[2])
    }
}

impl Drop for RecordSteps {
    fn drop(&mut self) {
        self.event_log.record("drop");
    }
}

struct RecordErrors(EventLog);

impl Hooks for RecordErrors {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        let what = if error.is_panic() { "panic" } else { "error" };
        self.0.record(format!("{what} in {}", error.stage()));
    }
}

/// Serves one client, with a write buffer so that the test can check that it is flushed at the end.
/// Returns the recorded events and the received text.
fn run_steps(ends: [End; 3]) -> (Vec<String>, String) {
    let event_log = EventLog::default();
    let for_handlers = event_log.clone();
    let builder = TcpServer::builder()
        .wbufsize(1024)
        .hooks(RecordErrors(event_log.clone()));
    let server = builder.bind(ANY, move || RecordSteps {
        event_log: for_handlers.clone(),
        ends,
    });
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    (event_log.entries(), read_all(client))
}

#[test]
fn all_steps_run_in_order() {
    let (events, received) = run_steps([Well, Well, Well]);
    assert_eq!(events, ["setup", "handle", "finish", "drop"]);
    assert_eq!(received, "from handle");
}

#[test]
fn finish_and_flush_run_after_an_error_in_handle() {
    let (events, received) = run_steps([Well, Error, Well]);
    assert_eq!(
        events,
        ["setup", "handle", "error in handle", "finish", "drop"]
    );
    assert_eq!(received, "from handle");
}

#[test]
fn finish_and_flush_run_after_a_panic_in_handle() {
    let (events, received) = run_steps([Well, Panic, Well]);
    assert_eq!(
        events,
        ["setup", "handle", "panic in handle", "finish", "drop"]
    );
    assert_eq!(received, "from handle");
}

#[test]
fn handle_and_finish_do_not_run_after_an_error_in_setup() {
    let (events, received) = run_steps([Error, Well, Well]);
    assert_eq!(events, ["setup", "error in setup", "drop"]);
    assert_eq!(received, "");
}

#[test]
fn handle_and_finish_do_not_run_after_a_panic_in_setup() {
    let (events, received) = run_steps([Panic, Well, Well]);
    assert_eq!(events, ["setup", "panic in setup", "drop"]);
    assert_eq!(received, "");
}

#[test]
fn errors_in_handle_and_in_finish_are_both_reported() {
    let (events, received) = run_steps([Well, Error, Panic]);
    let expected = [
        "setup",
        "handle",
        "error in handle",
        "finish",
        "panic in finish",
        "drop",
    ];
    assert_eq!(events, expected);
    assert_eq!(received, "from handle");
}

/// A handler that waits in `finish` and in its drop until the test releases it.
struct WaitsInSteps {
    reached: Sender<&'static str>,
    resume: Arc<Mutex<Receiver<()>>>,
}

impl WaitsInSteps {
    fn stop(&self, place: &'static str) {
        self.reached.send(place).expect("the test receives it");
        next(&self.resume.lock().expect("one handler at a time"));
    }
}

impl RequestHandler for WaitsInSteps {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        Ok(request.wfile.write_all(b"reply")?)
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.stop("finish");
        Ok(())
    }
}

impl Drop for WaitsInSteps {
    fn drop(&mut self) {
        self.stop("drop");
    }
}

#[test]
fn the_connection_is_shut_down_after_finish_and_after_the_handler_is_dropped() {
    let (reached, stops) = channel();
    let (release, resume) = channel();
    let resume = Arc::new(Mutex::new(resume));
    let make = move || WaitsInSteps {
        reached: reached.clone(),
        resume: Arc::clone(&resume),
    };
    let server = in_background(TcpServer::bind(ANY, make));
    let mut client = connect(server.server_address());
    let mut reply = [0; 5];
    client
        .read_exact(&mut reply)
        .expect("the reply is sent at once");
    for place in ["finish", "drop"] {
        assert_eq!(next(&stops), place);
        client.set_nonblocking(true).expect("the option is set");
        let read = client.read(&mut [0]).map_err(|e| e.kind());
        assert_eq!(
            read,
            Err(io::ErrorKind::WouldBlock),
            "the end came before {place}"
        );
        release.send(()).expect("the handler waits");
    }
    client.set_nonblocking(false).expect("the option is set");
    assert_eq!(read_all(client), "");
}

#[test]
fn each_request_has_its_own_handler() {
    let event_log = EventLog::default();
    let for_handlers = event_log.clone();
    let make = move || {
        for_handlers.record("made");
        RecordSteps {
            event_log: for_handlers.clone(),
            ends: [Well; 3],
        }
    };
    let server = TcpServer::bind(ANY, make).expect("a port is free");
    for _ in 0..2 {
        let _client = connect(server.server_address());
        server.handle_request().expect("one request is served");
    }
    let life = ["made", "setup", "handle", "finish", "drop"];
    assert_eq!(event_log.entries(), [life, life].concat());
}

#[test]
fn a_failed_flush_is_reported_as_an_error_of_finish() {
    let (reporter, reports) = channel();
    struct ReportErrors(Sender<(Stage, bool)>);
    impl Hooks for ReportErrors {
        fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
            let report = (error.stage(), error.io_kind().is_some());
            self.0.send(report).expect("the test receives it");
        }
    }
    let builder = TcpServer::builder()
        .wbufsize(1024)
        .hooks(ReportErrors(reporter));
    let server = builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b"buffered")?;
        // The write buffer can no longer be sent.
        socket2::SockRef::from(&*request).shutdown(std::net::Shutdown::Write)?;
        Ok(())
    });
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("one request is served");
    assert_eq!(next(&reports), (Stage::Finish, true));
    assert_eq!(read_all(client), "");
}
