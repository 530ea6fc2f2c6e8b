//! tokio: one task that receives and sends one datagram after the other.

use std::io;

use tokio::net::UdpSocket;

#[tokio::main]
async fn main() -> io::Result<()> {
    let socket = UdpSocket::bind(peers::ANY_PORT).await?;
    peers::announce(socket.local_addr()?);
    let mut buffer = [0; peers::BUFFER];
    loop {
        let (read, client) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..read], client).await?;
    }
}
