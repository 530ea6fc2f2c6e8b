//! A fault (an error or a panic) in a handler, a hook, a listener or a dispatcher.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use socketserver::dispatch::Job;
use socketserver::prelude::*;
use socketserver::{Address, BackgroundServer, Builder, Dispatch, Listener, RejectReason, Stage};

use support::concurrent::Concurrent;
use support::listener::FakeListener;

/// An error or a panic that happens once, in one place.
#[derive(Clone)]
pub struct Fault {
    pub place: &'static str,
    pub panics: bool,
    passed: Arc<AtomicUsize>,
}

impl Fault {
    pub fn error(place: &'static str) -> Self {
        Fault {
            place,
            panics: false,
            passed: Arc::default(),
        }
    }

    pub fn panic(place: &'static str) -> Self {
        Fault {
            panics: true,
            ..Fault::error(place)
        }
    }

    pub fn pass(&self, place: &str) -> io::Result<()> {
        if place != self.place || self.passed.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        assert!(!self.panics, "in {place}");
        Err(io::Error::other(format!("in {place}")))
    }

    /// For places where an error cannot be returned.
    pub fn may_panic(&self, place: &str) {
        self.pass(place).expect("the fault is a panic");
    }

    pub fn happened(&self) -> bool {
        self.passed.load(Ordering::SeqCst) > 0
    }
}

struct Handler(Fault);

/// A value that handlers store in their request's extensions.
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

/// Hooks with the fault, which report each error with its stage.
pub struct FaultyHooks(pub Fault, pub Sender<(Stage, String)>);

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
        // The receiver is dropped if the test has ended.
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

/// A dispatcher whose `dispatch` has the fault.
pub struct FaultyPool(pub Concurrent, pub Fault);

impl Dispatch for FaultyPool {
    fn dispatch(&self, job: Job) {
        match self.1.pass("dispatch") {
            Ok(()) => self.0.dispatch(job),
            Err(error) => job.refuse(error),
        }
    }

    fn join(&self, server: &ServerHandle) {
        self.0.join(server);
    }
}

pub type Reports = Receiver<(Stage, String)>;

/// A server with a limit of one connection, and one per IP. With a lost permit or count, the next
/// request would not be served.
pub fn start<D: Dispatch>(
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
        .expect("the socket is bound");
    let server = server.serve_in_background();
    (server.expect("a thread can be started"), reports)
}
