//! Unexpected bytes, always the same for a seed.

use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;

/// A quarter each: random bytes, random lines, a real request cut short, and a reset.
pub fn converse(mut stream: TcpStream, request: &[u8], rng: &mut Rng) -> io::Result<()> {
    match random_input(request, rng) {
        Some(bytes) => {
            stream.write_all(&bytes)?;
            stream.shutdown(Shutdown::Write)?;
            io::copy(&mut stream.take(1 << 20), &mut io::sink()).map(|_| ())
        }
        None => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
    }
}

/// A server may reset such a connection, but not leave it open.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// `None` stands for the reset.
pub fn random_input(request: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    match rng.u8(..4) {
        0 => Some(some_bytes(rng, 2000)),
        1 => Some(some_lines(rng)),
        2 => Some(request[..rng.usize(..request.len())].to_vec()),
        _ => None,
    }
}

fn some_bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..most);
    iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

fn some_lines(rng: &mut Rng) -> Vec<u8> {
    let mut line = |_| {
        let length = rng.usize(..100);
        let printable = iter::repeat_with(|| rng.u8(b' '..=b'~')).take(length);
        printable.chain([b'\n']).collect::<Vec<_>>()
    };
    (0..8).flat_map(&mut line).collect()
}
