//! A handler's life: which steps run after an error or a panic in another, and in which order.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use socketserver::prelude::*;
use socketserver::{RequestError, Stage};

/// How a step of the life ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Well,
    Error,
    Panic,
}

use End::{Error, Panic, Well};

use support::journal::Journal;
use support::{ANY, connect, in_background, next, read_all};

/// A handler that notes its steps, each with the end it is given.
struct Life {
    journal: Journal,
    ends: [End; 3],
}

impl Life {
    fn step(&self, name: &str, end: End) -> HandlerResult {
        self.journal.note(name);
        match end {
            Well => Ok(()),
            Error => Err(name.into()),
            Panic => panic!("{name}"),
        }
    }
}

impl RequestHandler for Life {
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

impl Drop for Life {
    fn drop(&mut self) {
        self.journal.note("drop");
    }
}

struct NoteErrors(Journal);

impl Hooks for NoteErrors {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        let what = if error.is_panic() { "panic" } else { "error" };
        self.0.note(format!("{what} in {}", error.stage()));
    }
}

/// Serves one client, with writes buffered so that it shows whether they are sent at the end.
/// What was noted, and what the client received.
fn live(ends: [End; 3]) -> (Vec<String>, String) {
    let journal = Journal::default();
    let for_handlers = journal.clone();
    let builder = TcpServer::builder()
        .wbufsize(1024)
        .hooks(NoteErrors(journal.clone()));
    let server = builder.bind(ANY, move || Life {
        journal: for_handlers.clone(),
        ends,
    });
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    (journal.entries(), read_all(client))
}

#[test]
fn a_request_is_set_up_handled_and_finished() {
    let (noted, received) = live([Well, Well, Well]);
    assert_eq!(noted, ["setup", "handle", "finish", "drop"]);
    assert_eq!(received, "from handle");
}

#[test]
fn finish_runs_after_an_error_in_handle_and_what_was_written_is_sent() {
    let (noted, received) = live([Well, Error, Well]);
    assert_eq!(
        noted,
        ["setup", "handle", "error in handle", "finish", "drop"]
    );
    assert_eq!(received, "from handle");
}

#[test]
fn finish_runs_after_a_panic_in_handle_and_what_was_written_is_sent() {
    let (noted, received) = live([Well, Panic, Well]);
    assert_eq!(
        noted,
        ["setup", "handle", "panic in handle", "finish", "drop"]
    );
    assert_eq!(received, "from handle");
}

#[test]
fn neither_handle_nor_finish_runs_after_an_error_in_setup() {
    let (noted, received) = live([Error, Well, Well]);
    assert_eq!(noted, ["setup", "drop", "error in setup"]);
    assert_eq!(received, "");
}

#[test]
fn neither_handle_nor_finish_runs_after_a_panic_in_setup() {
    let (noted, received) = live([Panic, Well, Well]);
    assert_eq!(noted, ["setup", "drop", "panic in setup"]);
    assert_eq!(received, "");
}

#[test]
fn errors_in_handle_and_in_finish_are_both_reported() {
    let (noted, received) = live([Well, Error, Panic]);
    let expected = [
        "setup",
        "handle",
        "error in handle",
        "finish",
        "panic in finish",
        "drop",
    ];
    assert_eq!(noted, expected);
    assert_eq!(received, "from handle");
}

/// Waits in `finish` and when it is dropped, until the test releases it.
struct Stops {
    reached: Sender<&'static str>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl Stops {
    fn stop(&self, place: &'static str) {
        self.reached.send(place).expect("the test receives it");
        next(&self.go_on.lock().expect("one handler at a time"));
    }
}

impl RequestHandler for Stops {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        Ok(request.wfile.write_all(b"reply")?)
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.stop("finish");
        Ok(())
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.stop("drop");
    }
}

#[test]
fn the_connection_is_shut_down_after_finish_and_after_the_handler_is_dropped() {
    let (reached, stops) = channel();
    let (release, go_on) = channel();
    let go_on = Arc::new(Mutex::new(go_on));
    let make = move || Stops {
        reached: reached.clone(),
        go_on: Arc::clone(&go_on),
    };
    let server = in_background(TcpServer::bind(ANY, make));
    let mut client = connect(server.server_address());
    let mut reply = [0; 5];
    client.read_exact(&mut reply).expect("it is sent at once");
    for place in ["finish", "drop"] {
        assert_eq!(next(&stops), place);
        client.set_nonblocking(true).expect("it can be set");
        let read = client.read(&mut [0]).map_err(|e| e.kind());
        assert_eq!(
            read,
            Err(io::ErrorKind::WouldBlock),
            "the end came before {place}"
        );
        release.send(()).expect("the handler waits");
    }
    client.set_nonblocking(false).expect("it can be set");
    assert_eq!(read_all(client), "");
}

#[test]
fn each_request_has_a_handler_of_its_own() {
    let journal = Journal::default();
    let for_handlers = journal.clone();
    let make = move || {
        for_handlers.note("made");
        Life {
            journal: for_handlers.clone(),
            ends: [Well; 3],
        }
    };
    let server = TcpServer::bind(ANY, make).expect("a port is free");
    for _ in 0..2 {
        let _client = connect(server.server_address());
        server.handle_request().expect("there is one");
    }
    let life = ["made", "setup", "handle", "finish", "drop"];
    assert_eq!(journal.entries(), [life, life].concat());
}

#[test]
fn a_reply_that_cannot_be_sent_after_finish_is_reported_as_an_error_of_finish() {
    let (reporter, reports) = channel();
    struct Tell(Sender<(Stage, bool)>);
    impl Hooks for Tell {
        fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
            let report = (error.stage(), error.io_kind().is_some());
            self.0.send(report).expect("the test receives it");
        }
    }
    let builder = TcpServer::builder().wbufsize(1024).hooks(Tell(reporter));
    let server = builder.bind_fn(ANY, |request| {
        request.wfile.write_all(b"buffered")?;
        // Writing is over: what is in the buffer can no longer be sent.
        socket2::SockRef::from(&*request).shutdown(std::net::Shutdown::Write)?;
        Ok(())
    });
    let server = server.expect("a port is free");
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(next(&reports), (Stage::Finish, true));
    assert_eq!(read_all(client), "");
}
