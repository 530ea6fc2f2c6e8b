//! What clients of the echo server do.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::clients::expect_echo;

/// What the echo server of a trial panics on.
pub const PANIC: &str = "panic";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Asks, is answered, ends its side, and sees the end.
    HalfClose,
    /// Asks, is answered, and resets the connection.
    Reset,
    /// Sends more than it reads, and closes in the middle of the answer.
    VanishMidWrite,
    /// Sends nothing.
    Silent,
    /// Sends a few bytes, one by one, and closes.
    Drip,
    /// Makes the handler panic.
    Panic,
}

impl Behavior {
    pub const ALL: [Behavior; 6] = [
        Behavior::HalfClose,
        Behavior::Reset,
        Behavior::VanishMidWrite,
        Behavior::Silent,
        Behavior::Drip,
        Behavior::Panic,
    ];

    /// One connection, from its first byte to its end. An error is one that a client should
    /// not see.
    pub fn run(self, mut stream: TcpStream) -> io::Result<()> {
        match self {
            Behavior::HalfClose => {
                expect_echo(&mut stream, "hello\n")?;
                stream.shutdown(Shutdown::Write)?;
                expect_end(stream)
            }
            Behavior::Reset => {
                expect_echo(&mut stream, "hello\n")?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            }
            Behavior::VanishMidWrite => vanish(stream),
            Behavior::Silent => Ok(()),
            Behavior::Drip => (0..5).try_for_each(|_| expect_echo(&mut stream, ".")),
            Behavior::Panic => {
                stream.write_all(PANIC.as_bytes())?;
                expect_end(stream)
            }
        }
    }
}

/// Sends until its writes block. The answers are never read, so closing resets the connection.
fn vanish(mut stream: TcpStream) -> io::Result<()> {
    let socket = SockRef::from(&stream);
    socket.set_recv_buffer_size(4096)?;
    socket.set_send_buffer_size(4096)?;
    stream.set_nonblocking(true)?;
    for _ in 0..16 {
        match stream.write(&[b'.'; 8192]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            sent => sent?,
        };
    }
    Ok(())
}

/// The end of the stream; a server that panicked over unread bytes may reset it.
fn expect_end(mut stream: TcpStream) -> io::Result<()> {
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::Error::other("an answer where none was due")),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}
