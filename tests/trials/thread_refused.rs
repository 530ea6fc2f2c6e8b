//! The system refuses to start another thread, or to give the stack for another green task.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socketserver::listener::Tcp;
use socketserver::prelude::*;
use socketserver::{Builder, Dispatch, RequestError, Stage};

use crate::clients::{connect_from, expect_echo};
#[cfg(feature = "green")]
use crate::server::GREEN;
use crate::server::{Server, THREADS};
use crate::{exclusive, shared};

use support::child::in_child;
use support::process::{allow_descriptors, resident};
use support::{ANY, connect, eventually, in_background};

const CLIENTS: usize = 200;
/// The size of a stack. The limit of the address space allows a few of them.
const STACK: usize = 1 << 30;
const ALLOWED: usize = 8 * STACK;

#[test]
fn echo_server_survives_failed_thread_starts() {
    let _shared = shared();
    let stack = ("RUST_MIN_STACK", STACK.to_string());
    let log = serves_again(&address_space(), THREADS, &[stack], CLIENTS);
    assert!(
        log.contains("cannot start a thread in addition to"),
        "{log}"
    );
}

#[cfg(feature = "green")]
#[test]
fn echo_server_survives_failed_allocations_of_stacks() {
    let _shared = shared();
    let options = format!("{GREEN} --stack-size {STACK}");
    let log = serves_again(&address_space(), &options, &[], CLIENTS);
    assert!(log.contains("dispatch failed"), "{log}");
}

/// There are memory mappings for fewer threads: the default of `vm.max_map_count` is 65,530.
#[test]
#[ignore = "full size"]
fn echo_server_survives_more_clients_than_threads_can_be_mapped() {
    const CLIENTS: usize = 16_500;
    const DESCRIPTORS: usize = CLIENTS + 500;
    let _exclusive = exclusive();
    allow_descriptors(DESCRIPTORS as u64);
    let limit = format!("-n {DESCRIPTORS}");
    let options = format!("{THREADS} --max-threads {CLIENTS}");
    let log = serves_again(&limit, &options, &[], CLIENTS);
    assert!(log.contains("vm.max_map_count is "), "{log}");
}

/// The limit for `ulimit`, with which there is space for a few stacks only.
fn address_space() -> String {
    format!("-v {}", ALLOWED >> 10)
}

/// `echo_server` with limits that do not allow a thread or task for each client. Returns its log.
fn serves_again(
    ulimit: &str,
    options: &str,
    environment: &[(&str, String)],
    clients: usize,
) -> String {
    let server = Server::limited(ulimit, options, environment);
    let connect_next =
        |_| connect_from(Ipv4Addr::LOCALHOST, server.address).expect("the server accepts");
    let mut served: Vec<_> = (0..clients)
        .map(connect_next)
        .filter_map(is_served)
        .collect();
    let count = served.len();
    assert!(0 < count && count < clients, "{count} clients served");
    for client in &mut served {
        expect_echo(client, "still here\n").expect("the client is served");
    }
    drop(served);
    eventually("a client is served again", || {
        is_served(connect_next(0)).is_some()
    });
    let log = server.log();
    println!(
        "{options}: {count} of {clients} clients served, the others closed; {} lines in the log",
        log.lines().count()
    );
    assert!(!log.contains("panicked"), "{log}");
    log
}

fn is_served(mut client: TcpStream) -> Option<TcpStream> {
    expect_echo(&mut client, "hello\n").ok().map(|()| client)
}

/// Hooks that count reported errors.
#[derive(Default)]
struct Reports(Mutex<usize>);

impl Hooks for &'static Reports {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        assert_eq!(error.stage(), Stage::Dispatch, "{error}");
        *self
            .0
            .lock()
            .expect("no thread panics while it holds the lock") += 1;
    }
}

#[test]
fn failed_thread_starts_are_reported_and_counted() {
    let _shared = shared();
    in_child(|| failures_are_counted(ThreadingTcpServer::builder().stack_size(STACK)));
}

#[cfg(feature = "green")]
#[test]
fn failed_allocations_of_stacks_are_reported_and_counted() {
    let _shared = shared();
    in_child(|| failures_are_counted(GreenTcpServer::builder().workers(2).stack_size(STACK)));
}

fn failures_are_counted<D: Dispatch>(builder: Builder<Tcp, D>) {
    let reports: &'static Reports = Box::leak(Box::default());
    let server = builder.hooks(reports).bind_fn(ANY, |request| {
        io::copy(&mut request.rfile, &mut request.wfile)?;
        Ok(())
    });
    let server = in_background(server);
    let limit = (resident(std::process::id()) << 10) + ALLOWED as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_AS).expect("the limit can be read");
    setrlimit(Resource::RLIMIT_AS, limit, hard).expect("the limit can be lowered");

    let connect_next = || connect(server.server_address());
    // All at once: none waits for a thread that never comes.
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect_next()).collect();
    let served: Vec<_> = clients.into_iter().filter_map(is_served).collect();
    let refused = CLIENTS - served.len();
    assert!(!served.is_empty() && refused > 0);
    eventually("the failures are reported and counted", || {
        let statistics = server.handle().statistics();
        let reported = *reports
            .0
            .lock()
            .expect("no thread panics while it holds the lock");
        statistics.active == served.len()
            && statistics.rejected.dispatch == refused as u64
            && reported == refused
    });
    for client in served {
        client
            .shutdown(std::net::Shutdown::Write)
            .expect("the connection is open");
        (&client)
            .read_to_end(&mut Vec::new())
            .expect("the stream ends");
    }
    eventually("a client is served again", || {
        is_served(connect_next()).is_some()
    });
}
