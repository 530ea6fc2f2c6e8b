//! The example `syslog_server` uses the same port number for UDP and TCP, or fails.

use std::net::{TcpListener, UdpSocket};

use support::ANY;
use support::example::run;

use crate::PROGRAM;

#[test]
fn the_error_names_a_port_in_use_by_udp_or_tcp() {
    let tcp = TcpListener::bind(ANY).expect("a port is free");
    let udp = UdpSocket::bind(ANY).expect("a port is free");
    for taken in [tcp.local_addr(), udp.local_addr()] {
        let taken = taken.expect("the socket is bound").to_string();
        let output = run(PROGRAM, &[&taken]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("syslog_server: "), "{stderr}");
        assert!(
            stderr.contains(&taken) && stderr.contains("in use"),
            "{stderr}"
        );
        assert_eq!(output.stdout, b"");
    }
}
