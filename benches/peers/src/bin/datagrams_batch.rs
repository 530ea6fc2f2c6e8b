//! By hand: one thread that receives and sends up to 64 datagrams with one system call each
//! (`recvmmsg`, `sendmmsg`).

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

const BATCH: usize = 64;

type Buffers = [[u8; peers::BUFFER]; BATCH];

fn main() -> io::Result<()> {
    let socket = UdpSocket::bind(peers::ANY_PORT)?;
    peers::announce(socket.local_addr()?);
    let mut buffers: Box<Buffers> = Box::new([[0; peers::BUFFER]; BATCH]);
    let mut received = MultiHeaders::preallocate(BATCH, None);
    let mut sent = MultiHeaders::preallocate(BATCH, None);
    loop {
        let clients = receive(socket.as_raw_fd(), &mut buffers, &mut received)?;
        send(socket.as_raw_fd(), &buffers, &clients, &mut sent)?;
    }
}

/// The length and the sender of each datagram.
struct Clients {
    lengths: [usize; BATCH],
    /// Those after the last datagram are `None`.
    addresses: [Option<SockaddrIn>; BATCH],
    count: usize,
}

/// Waits for the first datagram only.
fn receive(
    socket: RawFd,
    buffers: &mut Buffers,
    headers: &mut MultiHeaders<SockaddrIn>,
) -> io::Result<Clients> {
    let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
    let messages = recvmmsg(socket, headers, &mut slices, MsgFlags::MSG_WAITFORONE, None)?;
    let mut clients = Clients {
        lengths: [0; BATCH],
        addresses: [None; BATCH],
        count: 0,
    };
    for message in messages {
        clients.lengths[clients.count] = message.bytes;
        clients.addresses[clients.count] = message.address;
        clients.count += 1;
    }
    Ok(clients)
}

fn send(
    socket: RawFd,
    buffers: &Buffers,
    clients: &Clients,
    headers: &mut MultiHeaders<SockaddrIn>,
) -> io::Result<()> {
    let slices: [_; BATCH] = array::from_fn(|i| [IoSlice::new(&buffers[i][..clients.lengths[i]])]);
    let addresses = &clients.addresses[..clients.count];
    sendmmsg(socket, headers, &slices, addresses, [], MsgFlags::empty())?;
    Ok(())
}
