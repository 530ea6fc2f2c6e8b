//! By hand: one thread that receives and sends one datagram after the other.

use std::io;
use std::net::UdpSocket;

fn main() -> io::Result<()> {
    let socket = UdpSocket::bind(peers::ANY_PORT)?;
    peers::announce(socket.local_addr()?);
    let mut buffer = [0; peers::BUFFER];
    loop {
        let (read, client) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..read], client)?;
    }
}
