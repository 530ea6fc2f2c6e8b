use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A TCP connection that names its peer in every error and has a timeout for every wait.
pub struct Wire {
    socket: TcpStream,
    /// The host from the URL, and its address.
    pub peer: String,
    timeout: Duration,
    /// When the response's header must be complete. With a timeout per read alone, a server could
    /// send it byte by byte for days.
    deadline: Option<Instant>,
}

impl Wire {
    /// Connects to the first of the host's addresses that accepts.
    pub fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<Self> {
        let mut reasons = Vec::new();
        for address in resolve(host, port)? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => return Wire::new(socket, name(host, address), timeout),
                Err(error) => reasons.push(refusal(&name(host, address), &error, timeout)),
            }
        }
        let reasons = reasons.join("; ");
        Err(io::Error::other(format!("cannot connect to {reasons}")))
    }

    fn new(socket: TcpStream, peer: String, timeout: Duration) -> io::Result<Self> {
        socket.set_write_timeout(Some(timeout))?;
        Ok(Wire {
            socket,
            peer,
            timeout,
            deadline: Some(Instant::now() + timeout),
        })
    }

    /// Called after the header: from now on the timeout applies to each read.
    pub fn end_deadline(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.socket.set_read_timeout(Some(self.timeout))
    }

    fn explain(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, WouldBlock};
        let Wire { peer, timeout, .. } = self;
        let (kind, message) = match error.kind() {
            TimedOut | WouldBlock if self.deadline.is_some() => (
                TimedOut,
                format!("no complete answer from {peer} within {timeout:?}"),
            ),
            TimedOut | WouldBlock => (TimedOut, format!("nothing from {peer} for {timeout:?}")),
            BrokenPipe | ConnectionReset => {
                (ConnectionReset, format!("{peer} reset the connection"))
            }
            kind => (kind, format!("{peer}: {error}")),
        };
        io::Error::new(kind, message)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
        }
        self.socket.read(buffer)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.receive(buffer)).map_err(|e| self.explain(e))
    }
}

impl Write for Wire {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        uninterrupted(|| self.socket.write(data)).map_err(|e| self.explain(e))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A signal interrupts a call that has a timeout, even if its handler asks for a restart (signal(7)).
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Resolves the name by the system's resolver, which has a timeout of its own.
fn resolve(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    // The resolver expects IPv6 addresses without the brackets that they have in a URL.
    let bare = host.trim_matches(['[', ']']);
    (bare, port)
        .to_socket_addrs()
        .map_err(|e| io::Error::new(e.kind(), format!("cannot find the address of {host}: {e}")))
}

/// The address, after the name that it was resolved from, if there was one.
fn name(host: &str, address: SocketAddr) -> String {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => address.to_string(),
        Err(_) => format!("{host} ({address})"),
    }
}

fn refusal(peer: &str, error: &io::Error, timeout: Duration) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => format!("{peer}: no answer within {timeout:?}"),
        _ => format!("{peer}: {error}"),
    }
}
