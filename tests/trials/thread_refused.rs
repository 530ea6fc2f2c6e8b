//! The system refuses to start another thread.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socketserver::prelude::*;
use socketserver::{RequestError, Stage};

use crate::alone;
use crate::clients::{connect_from, expect_echo};
use crate::server::Server;

use support::child::in_child;
use support::process::resident;
use support::{ANY, connect, eventually, in_background};

const CLIENTS: usize = 200;
/// The stack of a thread, in address space. A few fit in twice what is allowed.
const STACK: usize = 1 << 30;
const ALLOWED: usize = 8 * STACK;

/// `echo_server` with address space for a few threads only.
#[test]
fn threads_refused_to_the_echo_server() {
    let _alone = alone();
    let stack = ("RUST_MIN_STACK", STACK.to_string());
    let server = Server::limited(&format!("-v {}", ALLOWED >> 10), &[stack]);
    let connect_next = |_| connect_from(Ipv4Addr::LOCALHOST, server.address).expect("it accepts");
    let mut served: Vec<_> = (0..CLIENTS)
        .map(connect_next)
        .filter_map(is_served)
        .collect();
    let there = served.len();
    assert!(0 < there && there < CLIENTS, "{there} clients served");
    for client in &mut served {
        expect_echo(client, "still here\n").expect("it is served");
    }
    drop(served);
    eventually("a client is served again", || {
        is_served(connect_next(0)).is_some()
    });
    let log = server.log();
    println!(
        "{there} of {CLIENTS} clients served, the others closed; {} lines in the log",
        log.lines().count()
    );
    assert!(
        log.contains("cannot start a thread in addition to"),
        "{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
}

fn is_served(mut client: TcpStream) -> Option<TcpStream> {
    expect_echo(&mut client, "hello\n").ok().map(|()| client)
}

/// Hooks that count what is reported.
#[derive(Default)]
struct Reports(Mutex<usize>);

impl Hooks for &'static Reports {
    fn handle_error(&self, _: &mut StreamRequest, error: &RequestError) {
        assert_eq!(error.stage(), Stage::Dispatch, "{error}");
        *self.0.lock().expect("nothing panics in here") += 1;
    }
}

#[test]
fn threads_refused_are_reported_and_counted() {
    let _alone = alone();
    in_child(|| {
        let reports: &'static Reports = Box::leak(Box::default());
        let server = ThreadingTcpServer::builder()
            .stack_size(STACK)
            .hooks(reports)
            .bind_fn(ANY, |request| {
                io::copy(&mut request.rfile, &mut request.wfile)?;
                Ok(())
            });
        let server = in_background(server);
        let limit = (resident(std::process::id()) << 10) + ALLOWED as u64;
        let (_, hard) = getrlimit(Resource::RLIMIT_AS).expect("it can be asked");
        setrlimit(Resource::RLIMIT_AS, limit, hard).expect("it can be lowered");

        let connect_next = || connect(server.server_address());
        let served: Vec<_> = (0..CLIENTS)
            .filter_map(|_| is_served(connect_next()))
            .collect();
        let refused = CLIENTS - served.len();
        assert!(!served.is_empty() && refused > 0);
        eventually("the others are reported and counted", || {
            let statistics = server.handle().statistics();
            let reported = *reports.0.lock().expect("nothing panics in here");
            statistics.active == served.len()
                && statistics.rejected.dispatch == refused as u64
                && reported == refused
        });
        for client in served {
            client
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            (&client).read_to_end(&mut Vec::new()).expect("the end");
        }
        eventually("a client is served again", || {
            is_served(connect_next()).is_some()
        });
    });
}
