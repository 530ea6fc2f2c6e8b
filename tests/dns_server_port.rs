//! The example `dns_server` takes one port number over both UDP and TCP, or none.

#[path = "../examples/dns_server/same_port.rs"]
mod same_port;
mod support;

use std::cell::Cell;
use std::io;
use std::net::{TcpListener, UdpSocket};

use socketserver::prelude::*;
use support::ANY;
use support::example::run;

fn bind_tcp(address: &str) -> io::Result<ThreadingTcpServer> {
    ThreadingTcpServer::bind_fn(address, |_| Ok(()))
}

/// Binds UDP after `failures` failures of this kind; returns how often it was tried.
fn attempts(
    address: &str,
    failures: usize,
    kind: io::ErrorKind,
) -> (usize, io::Result<(ThreadingTcpServer, UdpServer)>) {
    let tried = Cell::new(0);
    let bound = same_port::bind(address, bind_tcp, |address| {
        tried.set(tried.get() + 1);
        if tried.get() <= failures {
            return Err(kind.into());
        }
        UdpServer::bind_fn(address, |_| Ok(()))
    });
    (tried.get(), bound)
}

#[test]
fn another_port_is_tried_where_any_will_do() {
    let (tried, bound) = attempts(ANY, 3, io::ErrorKind::AddrInUse);
    let (tcp, udp) = bound.expect("the fourth is free");
    assert!(tried >= 4, "{tried}");
    assert_eq!(tcp.server_address(), udp.server_address());
}

#[test]
fn it_gives_up_in_the_end() {
    let (tried, bound) = attempts(ANY, usize::MAX, io::ErrorKind::AddrInUse);
    assert_eq!(tried, 100);
    let error = bound.expect_err("none is free");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn other_errors_and_a_port_of_ones_own_are_not_tried_again() {
    let (tried, bound) = attempts(ANY, 1, io::ErrorKind::PermissionDenied);
    assert!(tried == 1 && bound.is_err());
    let (tcp, _) = attempts(ANY, 0, io::ErrorKind::AddrInUse).1.expect("free");
    let address = tcp.server_address().to_string();
    drop(tcp);
    let (tried, bound) = attempts(&address, 1, io::ErrorKind::AddrInUse);
    assert!(tried <= 1 && bound.is_err());
}

#[test]
fn a_port_that_is_taken_over_either_is_named() {
    let zone = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/dns_server/example.zone"
    );
    let tcp = TcpListener::bind(ANY).expect("a port is free");
    let udp = UdpSocket::bind(ANY).expect("a port is free");
    for taken in [tcp.local_addr(), udp.local_addr()] {
        let taken = taken.expect("it is bound").to_string();
        let servers: [(_, &[&str]); 2] = [
            ("dns_server", &[&taken, "--zone", zone]),
            ("syslog_server", &[&taken]),
        ];
        for (name, arguments) in servers {
            let output = run(name, arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.starts_with(&format!("{name}: ")), "{said}");
            assert!(said.contains(&taken) && said.contains("in use"), "{said}");
            assert_eq!(output.stdout, b"");
        }
    }
}
