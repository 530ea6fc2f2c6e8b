//! Counterparts of Python's tests that need a separate process, with the same names.

use std::io;
use std::net::TcpListener;
use std::process;

use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Dispatch, RequestError, Server};

use support::child::{in_child, output_of_child};
use support::process::descriptors;
use support::{ANY, connect};

#[test]
fn test_tcpserver_bind_leak() {
    in_child(|| {
        let holder = TcpListener::bind(ANY).expect("a port is free");
        let taken = holder.local_addr().expect("the socket is bound");
        // A failed bind connects once, to find out whether a program listens.
        holder.set_nonblocking(true).expect("the mode can be set");
        let before = descriptors(process::id());
        for _ in 0..1024 {
            let error = TcpServer::bind_fn(taken, |_| Ok(())).expect_err("the port is taken");
            while holder.accept().is_ok() {}
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            let error =
                TcpServer::bind_fn("127.0.0.1:-1", |_| Ok(())).expect_err("-1 is not a port");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(descriptors(process::id()), before);
    })
}

#[test]
fn test_sync_not_handled() {
    check_result(&output_of_child(|| {
        exit_in_a_handler(TcpServer::builder());
    }));
}

#[test]
fn test_threading_not_handled() {
    check_result(&output_of_child(|| {
        exit_in_a_handler(ThreadingTcpServer::builder());
    }));
}

#[cfg(feature = "green")]
#[test]
fn test_green_not_handled() {
    check_result(&output_of_child(|| {
        exit_in_a_handler(GreenTcpServer::builder());
    }));
}

/// The exit status of the process, which the handler sets.
const STATUS: i32 = 72;

struct Reporter;

impl Hooks for Reporter {
    fn handle_error(&self, _: &mut StreamRequest, _: &RequestError) {
        println!("Error handled");
    }
}

/// The counterpart of Python's `SystemExit` in a handler is `std::process::exit`.
fn exit_in_a_handler<D: Dispatch>(builder: socketserver::Builder<Tcp, D>) -> ! {
    let server: Server<Tcp, D> = builder
        .hooks(Reporter)
        .bind_fn(ANY, |_| {
            println!("Handler called");
            process::exit(STATUS)
        })
        .expect("a port is free");
    drop(connect(server.server_address()));
    server.handle_request().expect("one request is served");
    server.server_close();
    unreachable!("closing the server waits for the handler, which ends the process");
}

fn check_result(output: &process::Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(STATUS), "{output:?}");
    assert!(stdout.contains("Handler called"), "{stdout}");
    assert!(!stdout.contains("Error handled"), "{stdout}");
}
