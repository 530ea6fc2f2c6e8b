//! Clients with chosen loopback addresses.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::Delays;

use support::LONG;

/// The loopback address of a client. With one address for all clients, the ports would run out.
pub fn host(number: usize) -> Ipv4Addr {
    let [high, low] = (number as u16 + 1).to_be_bytes();
    Ipv4Addr::new(127, 0, high, low)
}

pub fn connect_from(host: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    support::connect_from(host.into(), server)
}

/// An unnamed client, whose writes wait while the server's queue is full.
pub fn connect_unnamed(server: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(server)?;
    socket.set_write_timeout(Some(LONG))?;
    Ok(socket)
}

/// Sends the text and checks that it is sent back.
pub fn expect_echo(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    let mut echoed = vec![0; text.len()];
    stream.read_exact(&mut echoed)?;
    assert_eq!(echoed, text.as_bytes(), "the answer is this client's text");
    Ok(())
}

/// Connects every 50 ms while `is_running` returns true, and expects an echo.
pub fn regular_client(
    host: Ipv4Addr,
    server: SocketAddr,
    mut is_running: impl FnMut() -> bool,
) -> io::Result<Delays> {
    let mut delays = Delays::default();
    while is_running() {
        let started = Instant::now();
        expect_echo(&mut connect_from(host, server)?, "hello\n")?;
        delays.add(started.elapsed());
        thread::sleep(Duration::from_millis(50).saturating_sub(started.elapsed()));
    }
    Ok(delays)
}
