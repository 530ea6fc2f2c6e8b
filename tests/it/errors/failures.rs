//! Whatever fails or panics between accept and close, and with however many clients waiting: what its
//! request held is given back, and the next one is served.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socketserver::dispatch::{Inline, Job, ThreadPool};
use socketserver::listener::{Listener, Tcp};
use socketserver::prelude::*;
use socketserver::{
    BackgroundServer, Builder, Dispatch, OverloadPolicy, RejectReason, Server, Statistics,
};

use support::counts::{outcomes, reasons, settled};
use support::{ANY, LONG, connect, eventually, exchange, read_all};

/// What goes wrong, and how: once.
#[derive(Clone)]
struct Fault {
    place: &'static str,
    panics: bool,
    passed: Arc<AtomicUsize>,
}

impl Fault {
    fn pass(&self, place: &str) -> io::Result<()> {
        if place != self.place || self.passed.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        assert!(!self.panics, "in {place}");
        Err(io::Error::other(format!("in {place}")))
    }

    fn happened(&self) -> bool {
        self.passed.load(Ordering::SeqCst) > 0
    }
}

/// A handler, hooks, a dispatcher and a listener that each have the fault.
struct Faulty(Fault);

impl RequestHandler for Faulty {
    fn setup(&mut self, _: &mut StreamRequest) -> HandlerResult {
        Ok(self.0.pass("setup")?)
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
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

impl Hooks for Faulty {
    fn verify_request(&self, _: &mut StreamRequest) -> Result<bool, HandlerError> {
        self.0.pass("verify_request")?;
        Ok(true)
    }

    fn reject_request(&self, _: &mut StreamRequest, _: RejectReason) -> HandlerResult {
        Ok(self.0.pass("reject_request")?)
    }

    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {
        self.0.pass("handle_error").expect("it can only panic");
    }

    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        self.0
            .pass("service_actions")
            .expect("an error would end the server");
        Ok(())
    }
}

/// A pool before which something goes wrong.
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

/// TCP that loses a client it has accepted.
struct FaultyTcp(Tcp, Fault);

impl Listener for FaultyTcp {
    type Request = StreamRequest;

    fn server_activate(&mut self) -> io::Result<()> {
        self.0.server_activate()
    }

    fn accept(&self, server: &ServerHandle) -> io::Result<StreamRequest> {
        let request = self.0.accept(server)?;
        self.1.pass("accept")?;
        Ok(request)
    }

    fn local_address(&self) -> io::Result<Address> {
        self.0.local_address()
    }
}

impl AsFd for FaultyTcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for one, and one of each source: a permit or a count that is lost shows at once.
fn start<D: Dispatch>(builder: Builder<FaultyTcp, D>, fault: &Fault) -> BackgroundServer {
    let socket = std::net::TcpListener::bind(ANY).expect("a port is free");
    let handlers = fault.clone();
    builder
        .hooks(Faulty(fault.clone()))
        .max_connections(1)
        .max_per_ip(1)
        .adopt(FaultyTcp(socket.into(), fault.clone()), move || {
            handlers.pass("the factory").expect("it can only panic");
            Faulty(handlers.clone())
        })
        .expect("it is bound")
        .serve_in_background()
        .expect("a thread can be started")
}

fn go_wrong<D: Dispatch>(builder: Builder<FaultyTcp, D>, fault: &Fault) -> Statistics {
    let server = start(builder, fault);
    let client = connect(server.server_address());
    let _ = client.shutdown(std::net::Shutdown::Write);
    // The end of the stream: the socket is closed.
    read_all(client);
    let lost = u64::from(fault.place == "accept");
    let after = settled(&server.handle(), 1 - lost);
    eventually("the fault", || fault.happened());
    assert_eq!((after.active, after.queued), (0, 0));
    // Twice, so that it was no accident.
    for _ in 0..2 {
        let next = connect(server.server_address());
        assert_eq!(exchange(&next, ""), "served\n");
        next.shutdown(std::net::Shutdown::Write)
            .expect("it is open");
        let served = server.handle().statistics().accepted;
        settled(&server.handle(), served);
    }
    let report = server.handle().shutdown_within(LONG);
    assert_eq!((report.forced, report.unfinished), (0, 0));
    let handle = server.handle();
    server.stop().expect("it serves to its end");
    assert_eq!(handle.statistics().threads, 0);
    after
}

/// Everywhere it is counted alike; what was counted of the first request.
fn costs_nothing_else(place: &'static str, panics: bool) -> Statistics {
    let fault = || Fault {
        place,
        panics,
        passed: Arc::default(),
    };
    let inline = go_wrong(Server::<FaultyTcp, Inline>::builder(), &fault());
    let threading = Server::<FaultyTcp, ThreadPool>::builder().max_threads(1);
    let threading = go_wrong(threading, &fault());
    assert_eq!(outcomes(&inline), outcomes(&threading));
    assert_eq!(reasons(&inline), reasons(&threading));
    inline
}

const FINISHED: [u64; 5] = [1, 0, 0, 0, 0];
const FAILED: [u64; 5] = [0, 1, 0, 0, 0];
const PANICKED: [u64; 5] = [0, 0, 1, 0, 0];

macro_rules! faults {
    ($($name:ident: $place:literal, panics $panics:literal, $outcomes:expr, refused $refused:literal;)*) => {
        $(#[test]
        fn $name() {
            let counted = costs_nothing_else($place, $panics);
            assert_eq!(outcomes(&counted), $outcomes);
            assert_eq!(reasons(&counted), [$refused, 0, 0, 0, 0, 0]);
        })*
    };
}

faults! {
    a_panic_in_the_factory: "the factory", panics true, PANICKED, refused 0;
    an_error_in_verify_request: "verify_request", panics false, [0; 5], refused 1;
    a_panic_in_verify_request: "verify_request", panics true, [0; 5], refused 1;
    an_error_in_setup: "setup", panics false, FAILED, refused 0;
    a_panic_in_setup: "setup", panics true, PANICKED, refused 0;
    an_error_in_handle: "handle", panics false, FAILED, refused 0;
    a_panic_in_handle: "handle", panics true, PANICKED, refused 0;
    an_error_in_finish: "finish", panics false, FAILED, refused 0;
    a_panic_in_finish: "finish", panics true, PANICKED, refused 0;
    a_panic_in_handle_error: "handle_error", panics true, FAILED, refused 0;
    a_panic_in_service_actions: "service_actions", panics true, FINISHED, refused 0;
    an_error_in_accept: "accept", panics false, [0; 5], refused 0;
    a_panic_in_accept: "accept", panics true, [0; 5], refused 0;
}

#[test]
fn a_fault_in_the_dispatcher() {
    for panics in [false, true] {
        let fault = Fault {
            place: "dispatch",
            panics,
            passed: Arc::default(),
        };
        let pool = FaultyPool(ThreadPool::new(), fault.clone());
        let builder = Server::<FaultyTcp, Inline>::builder().dispatch(pool);
        let counted = go_wrong(builder, &fault);
        assert_eq!(outcomes(&counted), [0; 5]);
        assert_eq!(reasons(&counted), [0, 0, 0, 0, 0, 1]);
    }
}

/// The other client is served to its end, whatever happens to the one that is rejected.
#[test]
fn a_fault_in_reject_request() -> io::Result<()> {
    for panics in [false, true] {
        let fault = Fault {
            place: "reject_request",
            panics,
            passed: Arc::default(),
        };
        let builder = Server::<FaultyTcp, ThreadPool>::builder();
        let server = start(builder.overload(OverloadPolicy::Reject), &fault);
        let first = connect(server.server_address());
        assert_eq!(exchange(&first, ""), "served\n");
        assert_eq!(read_all(connect(server.server_address())), "");
        assert!(fault.happened());
        drop(first);
        let counted = settled(&server.handle(), 2);
        assert_eq!(outcomes(&counted), FINISHED);
        assert_eq!(counted.rejected.total(), 1);
        let report = server.handle().shutdown_within(LONG);
        assert_eq!((report.forced, report.unfinished), (0, 0));
    }
    Ok(())
}

#[test]
fn an_error_in_service_actions_ends_serving_and_leaves_nothing() -> io::Result<()> {
    struct Enough;
    impl Hooks for Enough {
        fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
            match server.statistics().accepted {
                0 => Ok(()),
                _ => Err(io::Error::other("enough")),
            }
        }
    }
    let builder = ThreadingTcpServer::builder().hooks(Enough);
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
