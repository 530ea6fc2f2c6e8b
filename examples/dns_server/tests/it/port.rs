//! The example `dns_server` takes one port number over both UDP and TCP, or none.

use std::net::{TcpListener, UdpSocket};

use support::ANY;
use support::example::run;

use crate::PROGRAM;

#[test]
fn a_port_that_is_taken_over_either_is_named() {
    let zone = concat!(env!("CARGO_MANIFEST_DIR"), "/example.zone");
    let tcp = TcpListener::bind(ANY).expect("a port is free");
    let udp = UdpSocket::bind(ANY).expect("a port is free");
    for taken in [tcp.local_addr(), udp.local_addr()] {
        let taken = taken.expect("it is bound").to_string();
        let output = run(PROGRAM, &[&taken, "--zone", zone]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("dns_server: "), "{said}");
        assert!(said.contains(&taken) && said.contains("in use"), "{said}");
        assert_eq!(output.stdout, b"");
    }
}
