//! A TCP and a UDP server on one port number.

use std::io;

use socketserver::prelude::*;

/// How often another port is tried, for port 0, if the one that TCP got is in use over UDP.
const ATTEMPTS: usize = 100;

/// Binds both; for port 0, both to one that is free for both.
pub fn bind(
    address: &str,
    bind_tcp: impl Fn(&str) -> io::Result<ThreadingTcpServer>,
    bind_udp: impl Fn(&Address) -> io::Result<UdpServer>,
) -> io::Result<(ThreadingTcpServer, UdpServer)> {
    let any_port = address.ends_with(":0");
    let mut attempts = if any_port { ATTEMPTS } else { 1 };
    loop {
        let tcp = bind_tcp(address)?;
        attempts -= 1;
        match bind_udp(tcp.server_address()) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(e) if attempts > 0 && e.kind() == io::ErrorKind::AddrInUse => {}
            Err(e) => return Err(e),
        }
    }
}
