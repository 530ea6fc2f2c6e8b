//! The ways in which clients of the echo server come and go.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::clients::expect_echo;

/// What the echo server of a trial panics on.
pub const BOOM: &str = "boom";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Asks, is answered, says that it is done, and sees the end.
    HalfClose,
    /// Asks, is answered, and resets the connection.
    Reset,
    /// Sends more than it reads, and is gone in the middle of the answer.
    VanishMidWrite,
    /// Says nothing.
    Silent,
    /// Sends a few bytes, one by one, and leaves.
    Drip,
    /// Makes the handler panic.
    Panic,
}

impl Manner {
    pub const ALL: [Manner; 6] = [
        Manner::HalfClose,
        Manner::Reset,
        Manner::VanishMidWrite,
        Manner::Silent,
        Manner::Drip,
        Manner::Panic,
    ];

    /// One connection, from its first byte to its end. An error is one that a good client should
    /// not see.
    pub fn behave(self, mut stream: TcpStream) -> io::Result<()> {
        match self {
            Manner::HalfClose => {
                expect_echo(&mut stream, "hello\n")?;
                stream.shutdown(Shutdown::Write)?;
                expect_end(stream)
            }
            Manner::Reset => {
                expect_echo(&mut stream, "hello\n")?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            }
            Manner::VanishMidWrite => vanish(stream),
            Manner::Silent => Ok(()),
            Manner::Drip => (0..5).try_for_each(|_| expect_echo(&mut stream, ".")),
            Manner::Panic => {
                stream.write_all(BOOM.as_bytes())?;
                expect_end(stream)
            }
        }
    }
}

/// Sends until nothing goes any more. The answers are never read, so leaving resets the connection.
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
