use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::Socket;

use super::transport::uninterrupted;
use crate::error::SystemError;
use crate::options::StreamOptions;
use crate::sys::datagram::PacketInfo;
use crate::sys::{self, MSG_DONTWAIT};
use crate::{Address, ServerHandle};

/// How soon a blocked send notices that its server was closed by force.
const STEP: Duration = Duration::from_millis(50);

/// The socket of a datagram server. Cloneable, to send from any thread at any time.
///
/// What a handler sends through its request's own value counts as the bytes of that request in the log. What
/// is sent through a clone, then or later, counts for the server only.
///
/// The address stays bound until the last clone is dropped.
#[derive(Debug)]
pub struct DatagramSocket {
    shared: Arc<Shared>,
    /// Bytes sent through this value.
    sent: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    /// The server that receives on it; it counts the sent bytes.
    server: OnceLock<ServerHandle>,
    /// Until when no send waits, after one has waited in vain.
    no_wait_until: Mutex<Option<Instant>>,
}

impl DatagramSocket {
    pub(crate) fn new(socket: Socket) -> Self {
        let shared = Arc::new(Shared {
            socket,
            server: OnceLock::new(),
            no_wait_until: Mutex::default(),
        });
        DatagramSocket {
            shared,
            sent: AtomicU64::new(0),
        }
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.shared.socket
    }

    pub(super) fn set_server(&self, server: &ServerHandle) {
        self.shared.server.get_or_init(|| server.clone());
    }

    /// Sends one datagram. Blocks while the send buffer, or the queue of the receiving Unix socket, is
    /// full: at most for the server's [`write_timeout`](crate::Builder::write_timeout), by default 1 s.
    /// After such a timeout, all sends that would have to wait fail at once, for ten times as long: clients
    /// that never read take at most a tenth of the time of a thread. (In a forking server this holds for each
    /// child alone.) A forced close of the server ends the wait within 50 ms; from then on a send does not
    /// wait.
    ///
    /// To wait, it sets the socket's send timeout (`SO_SNDTIMEO`) to 50 ms or less.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a datagram too long for the socket (65,507 bytes over UDP on IPv4),
    /// `AddrNotAvailable` for a client without an address, `TimedOut` after the `write_timeout`,
    /// `ConnectionAborted` after a forced close, and errors of the socket. Each names the address.
    #[doc(alias = "sendto")]
    pub fn send_to(&self, data: &[u8], address: &Address) -> io::Result<()> {
        self.send_from(None, data, address)
    }

    /// Sends from the address where a datagram arrived.
    pub(super) fn send_from(
        &self,
        from: Option<PacketInfo>,
        data: &[u8],
        address: &Address,
    ) -> io::Result<()> {
        let to = address.to_sock_addr();
        let sent = to.and_then(|to| {
            self.send_in_time(|flags| {
                uninterrupted(|| sys::datagram::send(self.socket(), data, &to, from, flags))
            })
        });
        let sent = sent.map_err(|e| explain(e, data.len(), address))? as u64;
        self.sent.fetch_add(sent, Ordering::Relaxed);
        if let Some(server) = self.shared.server.get() {
            server.registry().count_bytes(0, sent);
        }
        Ok(())
    }

    /// Waits in steps, because no event wakes a thread that waits for the queue of another Unix socket, and
    /// poll(2) does not report that queue.
    fn send_in_time(&self, send: impl Fn(i32) -> io::Result<usize>) -> io::Result<usize> {
        let mut sent = send(MSG_DONTWAIT);
        let mut give_up_at = None;
        while matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            if self.is_closed_by_force() {
                let text = "the server was closed by force";
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
            }
            let at = *give_up_at.get_or_insert_with(|| self.give_up_at());
            let left = at.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.remember_timeout();
                let text = "the receiver's queue or the send buffer is full (write_timeout)";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            sent = self.wait_and_send(left.unwrap_or(STEP).min(STEP), &send);
        }
        sent
    }

    /// When a send that begins to wait now has to fail.
    fn give_up_at(&self) -> Option<Instant> {
        let now = Instant::now();
        match *self.shared.no_wait_until.lock() {
            Some(until) if now < until => Some(now),
            _ => now.checked_add(self.write_timeout()?),
        }
    }

    /// Does not extend the time, so that some sends wait again after it.
    fn remember_timeout(&self) {
        const PAUSE: u32 = 10;
        let now = Instant::now();
        let mut until = self.shared.no_wait_until.lock();
        if until.is_none_or(|until| until <= now) {
            let pause = self
                .write_timeout()
                .map(|limit| limit.saturating_mul(PAUSE));
            *until = pause.and_then(|pause| now.checked_add(pause));
        }
    }

    fn wait_and_send(
        &self,
        time: Duration,
        send: impl Fn(i32) -> io::Result<usize>,
    ) -> io::Result<usize> {
        const PAUSE: Duration = Duration::from_millis(1);
        let time = time.max(PAUSE);
        if let Some(task) = crate::green::current() {
            task.sleep(Instant::now().checked_add(PAUSE));
            return send(MSG_DONTWAIT);
        }
        self.socket().set_write_timeout(Some(time))?;
        let begun = Instant::now();
        let sent = send(0);
        // A socket that the program has set non-blocking does not wait.
        if sent.is_err() && begun.elapsed() < PAUSE {
            thread::sleep(PAUSE);
        }
        sent
    }

    fn write_timeout(&self) -> Option<Duration> {
        match self.shared.server.get() {
            Some(server) => server.stream_options().datagram_write_timeout,
            None => StreamOptions::default().datagram_write_timeout,
        }
    }

    fn is_closed_by_force(&self) -> bool {
        let server = self.shared.server.get();
        server.is_some_and(ServerHandle::is_forced)
    }
}

/// The clone counts from 0.
impl Clone for DatagramSocket {
    fn clone(&self) -> Self {
        DatagramSocket {
            shared: Arc::clone(&self.shared),
            sent: AtomicU64::new(0),
        }
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl From<UdpSocket> for DatagramSocket {
    fn from(socket: UdpSocket) -> Self {
        DatagramSocket::new(socket.into())
    }
}

impl From<UnixDatagram> for DatagramSocket {
    fn from(socket: UnixDatagram) -> Self {
        DatagramSocket::new(socket.into())
    }
}

fn explain(error: io::Error, length: usize, address: &Address) -> io::Error {
    let mut message = format!("cannot send {length} bytes to {address}: {error}");
    let mut kind = error.kind();
    if error.raw_os_error() == Some(EMSGSIZE) {
        kind = io::ErrorKind::InvalidInput;
        if let Some(ip) = address.ip() {
            message += &format!("; {} at most over UDP", longest(ip));
        }
    }
    let mut error = SystemError::new(&error, message);
    error.receiver = Some(address.clone());
    error.with_kind(kind)
}

/// `ErrorKind` has no variant for it.
const EMSGSIZE: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};

/// An IP packet has 65,535 bytes. Of these the IPv4 header takes 20, the IPv6 header none, and the UDP
/// header 8.
fn longest(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 65_507 } else { 65_527 }
}
