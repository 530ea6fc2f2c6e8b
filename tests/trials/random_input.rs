//! Unexpected bytes, which are the same for the same seed.

use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;

/// A quarter each: random bytes, random lines, a truncated valid request, and a reset.
pub fn send_random_input(mut stream: TcpStream, request: &[u8], rng: &mut Rng) -> io::Result<()> {
    match random_input(request, rng) {
        Some(bytes) => {
            stream.write_all(&bytes)?;
            stream.shutdown(Shutdown::Write)?;
            io::copy(&mut stream.take(1 << 20), &mut io::sink()).map(|_| ())
        }
        None => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
    }
}

/// Whether an error is a timeout. A server may reset such a connection, but must not leave it open.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Random input. `None` is a reset.
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
