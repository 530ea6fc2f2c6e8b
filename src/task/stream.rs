use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::error::SystemError;
use crate::request::Transport;

/// A connection to another server. Reads and writes wait as those of a request do: on a green task they
/// suspend it. For options use `socket2::SockRef::from(&stream)`.
#[derive(Debug)]
pub struct Stream(Transport);

/// Connects to a TCP server. Tries the addresses of a name one after the other, as
/// [`TcpStream::connect`] does, each at most for `timeout`; `None` is the system's own limit. Resolving the name has no
/// limit but the system's; on a green task it is a [`blocking`](super::blocking) call.
///
/// # Errors
///
/// The name cannot be resolved, or the error of the last address; `TimedOut` after the timeout.
pub fn connect(
    address: impl ToSocketAddrs + Send,
    timeout: impl Into<Option<Duration>>,
) -> io::Result<Stream> {
    let timeout = timeout.into();
    let resolve = move || address.to_socket_addrs().map(Vec::from_iter);
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in super::blocking(resolve)? {
        match connect_to(address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let message = format!("cannot connect to {address}: {error}");
                last = SystemError::describe(&error, message);
            }
        }
    }
    Err(last)
}

fn connect_to(address: SocketAddr, timeout: Option<Duration>) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let connected = socket.connect(&address.into());
    // Reads and writes do not wait in the system, or ask for it themselves.
    socket.set_nonblocking(false)?;
    let stream = Stream(Transport::from(TcpStream::from(socket)));
    match connected {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            match stream.0.wait_until_connected(deadline) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let text = "no answer within the timeout";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                connected => connected?,
            }
        }
        Err(error) => return Err(error),
    }
    Ok(stream)
}

impl Stream {
    /// Limits how long one read may wait before it fails with `TimedOut`; `None`, the default, is no limit.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_read_timeout(&self, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
        self.0.set_read_timeout(timeout.into())
    }

    /// Limits how long one write may wait before it fails with `TimedOut`; `None`, the default, is no limit.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_write_timeout(&self, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
        self.0.set_write_timeout(timeout.into())
    }

    /// Ends one direction or both. [`TcpStream::shutdown`].
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }
}

/// Fails with `TimedOut` after the read timeout.
impl Read for &Stream {
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut buffer).map_err(timed_out)
    }
}

/// Sends what there is space for. Fails with `TimedOut` after the write timeout.
impl Write for &Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.set_exposed();
        self.0.as_fd()
    }
}

fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
