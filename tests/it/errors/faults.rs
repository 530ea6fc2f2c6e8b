//! An error or a panic anywhere between accept and close: the request's resources are given back, it
//! is counted once and reported, and the next request is served.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use socketserver::dispatch::{Inline, Job, ThreadPool};
use socketserver::prelude::*;
use socketserver::{
    Address, BackgroundServer, Builder, Dispatch, Listener, OverloadPolicy, RejectReason, Server,
    Stage, Statistics,
};

use support::counts::{outcomes, reasons, settled};
use support::listener::FakeListener;
use support::{ANY, LONG, connect, eventually, exchange, join_soon, read_all, socket_path};

/// What goes wrong, and how: once.
#[derive(Clone)]
struct Fault {
    place: &'static str,
    panics: bool,
    passed: Arc<AtomicUsize>,
}

impl Fault {
    fn error(place: &'static str) -> Self {
        Fault {
            place,
            panics: false,
            passed: Arc::default(),
        }
    }

    fn panic(place: &'static str) -> Self {
        Fault {
            panics: true,
            ..Fault::error(place)
        }
    }

    fn pass(&self, place: &str) -> io::Result<()> {
        if place != self.place || self.passed.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        assert!(!self.panics, "in {place}");
        Err(io::Error::other(format!("in {place}")))
    }

    /// Where an error cannot be returned.
    fn may_panic(&self, place: &str) {
        self.pass(place).expect("it can only panic");
    }

    fn happened(&self) -> bool {
        self.passed.load(Ordering::SeqCst) > 0
    }
}

struct Handler(Fault);

/// A value that handlers leave in their request.
struct Extension(Fault);

impl RequestHandler for Handler {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        Ok(self.0.pass("setup")?)
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        request.extensions.insert(Extension(self.0.clone()));
        self.0.pass("handle")?;
        request.wfile.write_all(b"served\n")?;
        while request.next_line()?.is_some() {}
        match self.0.place {
            "handle_error" => Err("for handle_error".into()),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        Ok(self.0.pass("finish")?)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.may_panic("drop of the handler");
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.0.may_panic("drop of an extension");
    }
}

/// Reports each error with its stage.
struct FaultyHooks(Fault, Sender<(Stage, String)>);

impl Hooks for FaultyHooks {
    fn server_activate(&self, _: BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        self.0.pass("server_activate")
    }

    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.pass("verify_request")?;
        Ok(true)
    }

    fn reject_request(&self, _: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(self.0.pass("reject_request")?)
    }

    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        self.0.may_panic("handle_error");
        // The test may be over.
        let _ = self.1.send((error.stage(), error.error().to_string()));
    }

    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        // An error would end serving.
        self.0.may_panic("service_actions");
        Ok(())
    }

    fn handle_timeout(&self, _: &ServerHandle) {
        self.0.may_panic("handle_timeout");
    }

    fn server_close(&self, _: &ServerHandle) {
        self.0.may_panic("server_close");
    }
}

/// A pool whose `dispatch` has the fault.
struct FaultyPool(ThreadPool, Fault);

impl Dispatch for FaultyPool {
    fn dispatch(&self, job: Job) {
        match self.1.pass("dispatch") {
            Ok(()) => self.0.dispatch(job),
            Err(error) => job.refuse(error),
        }
    }

    fn join(&self) {
        self.0.join();
    }
}

type Reports = Receiver<(Stage, String)>;

/// At most one connection, and one per IP: a permit or a count that is lost shows at once.
fn start<D: Dispatch>(
    builder: Builder<FakeListener, D>,
    fault: &Fault,
) -> (BackgroundServer, Reports) {
    let (reporter, reports) = channel();
    let (handlers, accepts) = (fault.clone(), fault.clone());
    let listener = FakeListener::new(move |tcp, server| {
        let request = tcp.accept(server)?;
        accepts.pass("accept")?;
        Ok(request)
    });
    let server = builder
        .hooks(FaultyHooks(fault.clone(), reporter))
        .max_connections(1)
        .max_per_ip(1)
        .adopt(listener, move || {
            handlers.may_panic("the factory");
            Handler(handlers.clone())
        })
        .expect("it is bound");
    let server = server.serve_in_background();
    (server.expect("a thread can be started"), reports)
}

/// What was counted of the request with the fault, and reported of it.
type Seen = (Statistics, Option<(Stage, String)>);

fn serve_after<D: Dispatch>(
    builder: Builder<FakeListener, D>,
    fault: &Fault,
    is_reported: bool,
) -> Seen {
    let (server, reports) = start(builder, fault);
    let client = connect(server.server_address());
    let _ = client.shutdown(Shutdown::Write);
    // Read to its end, so that it was closed.
    let received = read_all(client);
    assert!(received.is_empty() || received == "served\n");
    let lost = u64::from(fault.place == "accept");
    let after = settled(&server.handle(), 1 - lost);
    eventually("the fault", || fault.happened());
    let report = match is_reported {
        true => Some(reports.recv_timeout(LONG).expect("it is reported")),
        false => reports.try_recv().ok(),
    };
    // Twice, so that it was no accident.
    for _ in 0..2 {
        let next = connect(server.server_address());
        assert_eq!(exchange(&next, ""), "served\n");
        next.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(read_all(next), "");
        settled(&server.handle(), server.handle().statistics().accepted);
    }
    let drained = server.handle().shutdown_within(LONG);
    assert_eq!((drained.forced, drained.unfinished), (0, 0));
    let handle = server.handle();
    server.stop().expect("it serves to its end");
    assert_eq!(handle.statistics().threads, 0);
    (after, report)
}

/// The same with and without threads; with one thread only, which goes on to the next request.
fn next_is_served(fault: fn(&'static str) -> Fault, place: &'static str, reported: bool) -> Seen {
    let inline = Server::<FakeListener, Inline>::builder();
    let (inline, report) = serve_after(inline, &fault(place), reported);
    let threading = Server::<FakeListener, ThreadPool>::builder().max_threads(1);
    let (threading, same) = serve_after(threading, &fault(place), reported);
    assert_eq!(outcomes(&inline), outcomes(&threading));
    assert_eq!(reasons(&inline), reasons(&threading));
    assert_eq!(report, same);
    (inline, report)
}

const REFUSED: ([u64; 5], u64) = ([0; 5], 1);
const NOT_COUNTED: ([u64; 5], u64) = ([0; 5], 0);
const FINISHED: ([u64; 5], u64) = ([1, 0, 0, 0, 0], 0);
const FAILED: ([u64; 5], u64) = ([0, 1, 0, 0, 0], 0);
const PANICKED: ([u64; 5], u64) = ([0, 0, 1, 0, 0], 0);

macro_rules! faults {
    ($($name:ident: Fault::$kind:ident($place:literal), $counted:expr, $stage:expr;)*) => {
        $(#[test]
        fn $name() {
            let stage: Option<Stage> = $stage;
            let (counted, report) = next_is_served(Fault::$kind, $place, stage.is_some());
            let refused = reasons(&counted);
            assert_eq!((outcomes(&counted), refused[0]), $counted);
            assert_eq!(refused[1..], [0; 5]);
            let prefix = if stringify!($kind) == "panic" { "panicked: " } else { "" };
            let expected = stage.map(|stage| (stage, format!("{prefix}in {}", $place)));
            assert_eq!(report, expected);
        })*
    };
}

// What goes wrong outside of every request, or in `handle_error` itself, is only logged.
faults! {
    a_panic_in_the_factory: Fault::panic("the factory"), PANICKED, Some(Stage::Setup);
    an_error_in_accept: Fault::error("accept"), NOT_COUNTED, None;
    a_panic_in_accept: Fault::panic("accept"), NOT_COUNTED, None;
    an_error_in_verify_request: Fault::error("verify_request"), REFUSED, Some(Stage::Verify);
    a_panic_in_verify_request: Fault::panic("verify_request"), REFUSED, Some(Stage::Verify);
    an_error_in_setup: Fault::error("setup"), FAILED, Some(Stage::Setup);
    a_panic_in_setup: Fault::panic("setup"), PANICKED, Some(Stage::Setup);
    an_error_in_handle: Fault::error("handle"), FAILED, Some(Stage::Handle);
    a_panic_in_handle: Fault::panic("handle"), PANICKED, Some(Stage::Handle);
    an_error_in_finish: Fault::error("finish"), FAILED, Some(Stage::Finish);
    a_panic_in_finish: Fault::panic("finish"), PANICKED, Some(Stage::Finish);
    a_panic_in_the_drop_of_the_handler:
        Fault::panic("drop of the handler"), PANICKED, Some(Stage::Finish);
    a_panic_in_the_drop_of_an_extension: Fault::panic("drop of an extension"), FINISHED, None;
    a_panic_in_handle_error: Fault::panic("handle_error"), FAILED, None;
    a_panic_in_service_actions: Fault::panic("service_actions"), FINISHED, None;
}

#[test]
fn a_fault_in_the_dispatcher() {
    for fault in [Fault::error("dispatch"), Fault::panic("dispatch")] {
        let pool = FaultyPool(ThreadPool::new(), fault.clone());
        let builder = Server::<FakeListener, Inline>::builder().dispatch(pool);
        let (counted, report) = serve_after(builder, &fault, !fault.panics);
        assert_eq!(outcomes(&counted), [0; 5]);
        assert_eq!(reasons(&counted), [0, 0, 0, 0, 0, 1]);
        let expected = (Stage::Dispatch, "in dispatch".to_owned());
        assert_eq!(report, (!fault.panics).then_some(expected));
    }
}

/// The other client is served to its end, whatever happens to the one that is rejected.
#[test]
fn a_fault_in_reject_request() {
    for fault in [
        Fault::error("reject_request"),
        Fault::panic("reject_request"),
    ] {
        let builder = Server::<FakeListener, ThreadPool>::builder();
        let (server, _reports) = start(builder.overload(OverloadPolicy::Reject), &fault);
        let first = connect(server.server_address());
        assert_eq!(exchange(&first, ""), "served\n");
        assert_eq!(read_all(connect(server.server_address())), "");
        assert!(fault.happened());
        drop(first);
        let counted = settled(&server.handle(), 2);
        assert_eq!((outcomes(&counted), reasons(&counted)[0]), FINISHED);
        assert_eq!(counted.rejected.total(), 1);
        let report = server.handle().shutdown_within(LONG);
        assert_eq!((report.forced, report.unfinished), (0, 0));
    }
}

#[test]
fn an_error_in_service_actions_ends_serving_and_leaves_nothing() -> io::Result<()> {
    struct Fails;
    impl Hooks for Fails {
        fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
            match server.statistics().accepted {
                0 => Ok(()),
                _ => Err(io::Error::other("enough")),
            }
        }
    }

    let builder = ThreadingTcpServer::builder().hooks(Fails);
    let server = builder
        .poll_interval(Duration::from_millis(10))
        .bind_fn(ANY, |request| Ok(request.wfile.write_all(b"served\n")?))?;
    let server = server.serve_in_background()?;
    let handle = server.handle();
    assert_eq!(exchange(connect(server.server_address()), ""), "served\n");
    assert_eq!(settled(&handle, 1).finished, 1);
    let error = server.stop().expect_err("serving ended");
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::Other, "enough")
    );
    eventually("its threads have ended", || {
        handle.statistics().threads == 0
    });
    Ok(())
}

/// Hooks that panic in one place.
fn panicking_in(place: &'static str) -> (Fault, FaultyHooks) {
    let fault = Fault::panic(place);
    (fault.clone(), FaultyHooks(fault, channel().0))
}

#[test]
fn a_panic_in_handle_timeout() {
    let (fault, hooks) = panicking_in("handle_timeout");
    let builder = TcpServer::builder().hooks(hooks).timeout(Duration::ZERO);
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"served")?));
    let server = server.expect("a port is free");
    server.handle_request().expect("a timeout is no error");
    assert!(fault.happened());
    let client = connect(server.server_address());
    server.handle_request().expect("there is one");
    assert_eq!(read_all(client), "served");
}

#[test]
fn a_panic_in_server_close_leaves_the_server_closed() {
    let (fault, hooks) = panicking_in("server_close");
    let (_folder, path) = socket_path();
    let builder = UnixStreamServer::builder().hooks(hooks);
    let server = builder
        .bind_fn(&path, |_| Ok(()))
        .expect("the path is free");
    let handle = server.handle();
    join_soon(thread::spawn(move || server.server_close()));
    assert!(fault.happened());
    assert!(!path.exists());
    join_soon(thread::spawn(move || handle.wait()));
}

#[test]
fn a_panic_in_server_activate_reaches_the_caller_and_leaves_nothing() {
    let (fault, hooks) = panicking_in("server_activate");
    let (_folder, path) = socket_path();
    let builder = UnixStreamServer::builder().hooks(hooks);
    let bound = catch_unwind(AssertUnwindSafe(|| {
        builder.bind_fn(&path, |_| Ok(())).map(drop)
    }));
    assert!(bound.is_err());
    assert!(fault.happened());
    assert!(!path.exists());
}
