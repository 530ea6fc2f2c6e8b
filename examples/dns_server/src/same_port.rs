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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use socketserver::prelude::*;

    const ANY: &str = "127.0.0.1:0";

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
        let bound = super::bind(address, bind_tcp, |address| {
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
}
