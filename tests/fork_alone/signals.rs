//! A program with signal handlers of its own, which serves on its main thread.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use socketserver::prelude::*;

use crate::harness::{Trial, trial};

use support::{ANY, connect, read_all};

pub fn trials() -> Vec<Trial> {
    vec![
        trial!(an_alarm_ends_serve_forever),
        trial!(an_alarm_during_a_request_is_handled_after_it),
        trial!(an_alarm_does_not_end_handle_request),
        trial!(an_alarm_ends_handle_request_with_an_error),
    ]
}

/// Set by the signal handler, as in the C code of an interpreter.
static PENDING: AtomicBool = AtomicBool::new(false);
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_alarm(_: i32) {
    PENDING.store(true, Ordering::SeqCst);
}

#[allow(unsafe_code)]
fn catch_alarms() {
    // As `signal(2)` installs it: system calls go on, where they can.
    let action = SigAction::new(
        SigHandler::Handler(on_alarm),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler only sets an atomic.
    unsafe { sigaction(Signal::SIGALRM, &action) }.expect("the signal can be caught");
}

/// A host whose own handler of the signal acts on the server.
struct Host(fn(&ServerHandle) -> io::Result<()>);

impl Hooks for Host {
    fn handle_interrupt(&self, server: &ServerHandle) -> io::Result<()> {
        if PENDING.swap(false, Ordering::SeqCst) {
            HANDLED.fetch_add(1, Ordering::SeqCst);
            (self.0)(server)?;
        }
        Ok(())
    }
}

fn bind(on_signal: fn(&ServerHandle) -> io::Result<()>) -> TcpServer {
    catch_alarms();
    let builder = TcpServer::builder().hooks(Host(on_signal));
    let builder = builder.poll_interval(support::HOUR);
    let server = builder.bind_fn(ANY, |request| Ok(request.wfile.write_all(b"hello")?));
    server.expect("a port is free")
}

fn an_alarm_ends_serve_forever() {
    let server = bind(|server| {
        server.shutdown();
        Ok(())
    });
    alarm::set(1);
    server.serve_forever().expect("a shutdown is not an error");
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
}

/// A server without threads: the wait of the accept loop is not interrupted.
fn an_alarm_during_a_request_is_handled_after_it() {
    catch_alarms();
    let builder = TcpServer::builder().poll_interval(support::HOUR);
    let builder = builder.hooks(Host(|server| {
        server.shutdown();
        Ok(())
    }));
    let server = builder.bind_fn(ANY, |_| {
        support::eventually("the alarm", || PENDING.load(Ordering::SeqCst));
        Ok(())
    });
    let server = server.expect("a port is free");
    let _client = connect(server.server_address());
    alarm::set(1);
    server.serve_forever().expect("a shutdown is not an error");
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
}

fn an_alarm_does_not_end_handle_request() {
    let server = bind(|server| {
        let address = server.server_address().clone();
        thread::spawn(move || read_all(connect(&address)));
        Ok(())
    });
    alarm::set(1);
    server.handle_request().expect("a client is served");
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1);
    assert_eq!(server.handle().statistics().accepted, 1);
}

fn an_alarm_ends_handle_request_with_an_error() {
    let server = bind(|_| Err(io::Error::other("KeyboardInterrupt")));
    alarm::set(1);
    let error = server.handle_request().expect_err("the host raises it");
    assert_eq!(error.to_string(), "KeyboardInterrupt");
}
