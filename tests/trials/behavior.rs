//! The behaviors of the echo server's clients.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::clients::expect_echo;

/// The text that makes the echo server of a trial panic.
pub const PANIC: &str = "panic";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// Sends a message, receives the answer, shuts down its writes, and reads to the end.
    HalfClose,
    /// Sends a message, receives the answer, and resets the connection.
    Reset,
    /// Sends more than it reads, and closes in the middle of the answer.
    CloseMidWrite,
    /// Sends nothing.
    Silent,
    /// Sends a few bytes, one by one, and closes.
    ByteByByte,
    /// Makes the handler panic.
    Panic,
}

impl Behavior {
    pub const ALL: [Behavior; 6] = [
        Behavior::HalfClose,
        Behavior::Reset,
        Behavior::CloseMidWrite,
        Behavior::Silent,
        Behavior::ByteByByte,
        Behavior::Panic,
    ];

    /// One connection, from its first byte to its end. It returns an error that a client should not
    /// get.
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
            Behavior::CloseMidWrite => close_mid_write(stream),
            Behavior::Silent => Ok(()),
            Behavior::ByteByByte => (0..5).try_for_each(|_| expect_echo(&mut stream, ".")),
            Behavior::Panic => {
                stream.write_all(PANIC.as_bytes())?;
                expect_end(stream)
            }
        }
    }
}

/// Sends until its writes block, and closes. The answers are not read, so the close is a reset.
fn close_mid_write(mut stream: TcpStream) -> io::Result<()> {
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

/// Expects the end of the stream. A server that panicked with unread bytes may reset the
/// connection.
fn expect_end(mut stream: TcpStream) -> io::Result<()> {
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::Error::other("an unexpected answer")),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error),
    }
}
