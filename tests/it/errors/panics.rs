//! A panic, wherever it happens, costs its own request only: the client of that one is hung up on,
//! and the next one is served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, thread};

use socketserver::prelude::*;
use socketserver::{Address, HandlerError, RequestError, ServerHandle, Stage};

use support::{ANY, connect, in_background, join_soon, read_all, socket_path};

/// Where to panic, and how often it was done: once.
#[derive(Clone)]
struct Bomb {
    place: &'static str,
    visits: Arc<AtomicUsize>,
}

impl Bomb {
    fn at(place: &'static str) -> Self {
        Bomb {
            place,
            visits: Arc::default(),
        }
    }

    fn pass(&self, place: &str) {
        if place == self.place && self.visits.fetch_add(1, Ordering::SeqCst) == 0 {
            panic!("in {place}");
        }
    }

    fn went_off(&self) -> bool {
        self.visits.load(Ordering::SeqCst) > 0
    }
}

struct Handler(Bomb);

/// A value that handlers leave in their request.
struct Left(Bomb);

impl RequestHandler for Handler {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.pass("setup");
        Ok(())
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        request.extensions.insert(Left(self.0.clone()));
        self.0.pass("handle");
        request.wfile.write_all(b"served")?;
        match self.0.place {
            "handle_error" => Err("so that there is an error to handle".into()),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.0.pass("finish");
        Ok(())
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.pass("drop of the handler");
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.pass("drop of the context");
    }
}

struct Bombed {
    bomb: Bomb,
    errors: Sender<(Stage, String)>,
}

impl Hooks for Bombed {
    fn server_activate(&self, _: std::os::fd::BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        self.bomb.pass("server_activate");
        Ok(())
    }

    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.bomb.pass("verify_request");
        Ok(true)
    }

    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        self.bomb.pass("handle_error");
        if error.is_panic() {
            let report = (error.stage(), error.error().to_string());
            self.errors.send(report).expect("the test listens");
        }
    }

    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        self.bomb.pass("service_actions");
        Ok(())
    }

    fn handle_timeout(&self, _: &ServerHandle) {
        self.bomb.pass("handle_timeout");
    }

    fn server_close(&self, _: &ServerHandle) {
        self.bomb.pass("server_close");
    }
}

fn with_bomb(place: &'static str) -> (Bomb, Bombed, Receiver<(Stage, String)>) {
    let (errors, told) = channel();
    let bomb = Bomb::at(place);
    (bomb.clone(), Bombed { bomb, errors }, told)
}

/// Both servers live through the bomb; what was reported is the same on each.
fn costs_its_own_request_only(place: &'static str) -> Vec<(Stage, String)> {
    let inline = survives(place, TcpServer::builder());
    // With one thread only, which has to live on.
    let threading = survives(place, ThreadingTcpServer::builder().max_threads(1));
    assert_eq!(inline, threading);
    inline
}

fn survives<D: socketserver::Dispatch>(
    place: &'static str,
    builder: socketserver::Builder<socketserver::listener::Tcp, D>,
) -> Vec<(Stage, String)> {
    let (bomb, hooks, told) = with_bomb(place);
    let for_handlers = bomb.clone();
    let server = builder.hooks(hooks).bind(ANY, move || {
        for_handlers.pass("the factory");
        Handler(for_handlers.clone())
    });
    let server = in_background(server);
    // Read to its end, so that it was closed.
    let first = read_all(connect(server.server_address()));
    assert!(first.is_empty() || first == "served");
    assert_eq!(read_all(connect(server.server_address())), "served");
    server.stop().expect("a panic does not end the server");
    assert!(bomb.went_off());
    told.iter().collect()
}

fn panicked_in(stage: Stage, place: &str) -> Vec<(Stage, String)> {
    vec![(stage, format!("panicked: in {place}"))]
}

macro_rules! panics {
    ($($name:ident: $place:literal, $reported:expr;)*) => {
        $(#[test]
        fn $name() {
            let reported: Option<Stage> = $reported;
            let expected = reported.map_or(vec![], |stage| panicked_in(stage, $place));
            assert_eq!(costs_its_own_request_only($place), expected);
        })*
    };
}

// Where it is to panic, and the stage that `handle_error` is told. What happens outside of every
// request, or in `handle_error` itself, is only logged.
panics! {
    a_panic_in_the_factory: "the factory", Some(Stage::Setup);
    a_panic_in_setup: "setup", Some(Stage::Setup);
    a_panic_in_handle: "handle", Some(Stage::Handle);
    a_panic_in_finish: "finish", Some(Stage::Finish);
    a_panic_in_the_drop_of_the_handler: "drop of the handler", Some(Stage::Finish);
    a_panic_in_the_drop_of_the_context: "drop of the context", None;
    a_panic_in_verify_request: "verify_request", Some(Stage::Verify);
    a_panic_in_handle_error: "handle_error", None;
    a_panic_in_service_actions: "service_actions", None;
}

#[test]
fn a_panic_in_handle_timeout() {
    let (bomb, hooks, _told) = with_bomb("handle_timeout");
    let builder = TcpServer::builder().hooks(hooks).timeout(Duration::ZERO);
    let for_handlers = bomb.clone();
    let server = builder
        .bind(ANY, move || Handler(for_handlers.clone()))
        .expect("a port is free");
    server.handle_request().expect("a timeout is no error");
    assert!(bomb.went_off());
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(read_all(client), "served");
}

#[test]
fn a_panic_in_server_close_leaves_the_server_closed() {
    let (bomb, hooks, _told) = with_bomb("server_close");
    let (_folder, path) = socket_path();
    let builder = UnixStreamServer::builder().hooks(hooks);
    let server = builder
        .bind_fn(&path, |_| Ok(()))
        .expect("the path is free");
    let handle = server.handle();
    let closing = thread::spawn(move || server.server_close());
    join_soon(closing);
    assert!(bomb.went_off());
    assert!(!path.exists());
    join_soon(thread::spawn(move || handle.wait()));
}

#[test]
fn a_panic_in_server_activate_reaches_the_caller_and_leaves_nothing_behind() {
    let (bomb, hooks, _told) = with_bomb("server_activate");
    let (_folder, path) = socket_path();
    let builder = UnixStreamServer::builder().hooks(hooks);
    let bound = catch_unwind(AssertUnwindSafe(|| {
        builder.bind_fn(&path, |_| Ok(())).map(drop)
    }));
    assert!(bound.is_err());
    assert!(bomb.went_off());
    assert!(!path.exists());
}

/// A dispatcher that panics over its first job.
struct Clumsy(Bomb);

impl socketserver::Dispatch for Clumsy {
    fn dispatch(&self, job: socketserver::dispatch::Job) {
        self.0.pass("dispatch");
        job.run();
    }
}

#[test]
fn a_panic_in_a_dispatcher() {
    let bomb = Bomb::at("dispatch");
    let builder = TcpServer::builder().dispatch(Clumsy(bomb.clone()));
    let server =
        in_background(builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"served")?)));
    assert_eq!(read_all(connect(server.server_address())), "");
    assert_eq!(read_all(connect(server.server_address())), "served");
    assert!(bomb.went_off());
}
