use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::SockRef;

use super::close_reason::CloseReason;
use super::state::{ConnState, Flag};
use super::transport::Transport;
use crate::Address;
use crate::handle::{ConnectionEntry, OpenConnection};
use crate::options::StreamOptions;
use crate::statistics::ByteCounters;
use crate::sys::MSG_DONTWAIT;
use crate::sys::timer::{OnTimer, Timer};

/// One open connection. A request's `rfile` and `wfile` own it: it is closed when both are dropped.
/// Handles, the registry and the timer do not keep it open.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) transport: Transport,
    pub(super) client_address: Address,
    pub(super) id: u64,
    pub(super) state: ConnState,
    /// Locked for a whole message, so that a broadcast never lands in the middle of a reply.
    pub(super) write_buffer: Mutex<Vec<u8>>,
    pub(super) wbufsize: usize,
    pub(super) bytes: Arc<ByteCounters>,
    owners: AtomicUsize,
}

impl Conn {
    pub(super) fn new(
        transport: Transport,
        client_address: Address,
        id: u64,
        options: &StreamOptions,
    ) -> Arc<Self> {
        Arc::new(Conn {
            transport,
            client_address,
            id,
            state: ConnState::new(options.idle_timeout),
            write_buffer: Mutex::default(),
            wbufsize: options.wbufsize,
            bytes: Arc::default(),
            owners: AtomicUsize::new(0),
        })
    }

    pub(super) fn entry(self: &Arc<Self>) -> ConnectionEntry {
        let connection: Weak<Conn> = Arc::downgrade(self);
        ConnectionEntry {
            connection,
            bytes: Arc::clone(&self.bytes),
        }
    }

    /// The handler begins. The timer that is returned ends the connection after its idle timeout or
    /// lifetime.
    pub(super) fn begin(
        self: &Arc<Self>,
        max_lifetime: Option<Duration>,
    ) -> io::Result<Option<Timer>> {
        let set = |at| {
            let conn: Weak<Conn> = Arc::downgrade(self);
            Timer::set(at, conn)
        };
        self.state.begin(max_lifetime).map(set).transpose()
    }

    /// What an error of the socket means: the reason why this side has closed the connection, or a
    /// timeout, which the system reports as "would block".
    pub(super) fn explain(
        &self,
        error: io::Error,
        what: &str,
        timeout: io::Result<Option<Duration>>,
    ) -> io::Error {
        let reason = self.state.close_reason();
        if let Some(error) = reason.and_then(|reason| reason.error(&self.client_address)) {
            return error;
        }
        match timeout {
            Ok(Some(timeout)) if error.kind() == io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{what} {} for {timeout:?}", self.client_address),
            ),
            _ => error,
        }
    }
}

/// Receiving.
impl Conn {
    /// Receives into `buffer`, after flushing data that the client may wait for. Returns 0 at the end of the
    /// stream.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.state.has(Flag::Unsent) && !self.state.has(Flag::Split) {
            self.flush()?;
        }
        let received = self.receive_once(buffer);
        received.map_err(|e| self.explain_receive(e))
    }

    /// Receives the first bytes of a message. The idle timeout, if there is one, replaces the read
    /// timeout.
    pub(super) fn receive_message(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.receive_once(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.ignores_read_timeout() => {}
                received => return received.map_err(|e| self.explain_receive(e)),
            }
        }
    }

    fn ignores_read_timeout(&self) -> bool {
        let is_blocking = || SockRef::from(self).nonblocking().is_ok_and(|non| !non);
        self.state.has_idle_timeout() && is_blocking()
    }

    fn receive_once(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // A client that goes on sending does not delay the end.
        if self.state.is_closed() {
            return self.at_end();
        }
        // A Unix socket whose reading side is shut down receives nothing more, not even the rest of a
        // message. So the first byte is waited for and left in the socket, where `drain` sees it.
        if self.transport.is_unix() && self.state.is_idle() {
            if self.transport.peek(0)? == 0 {
                return self.at_end();
            }
            self.state.set_busy();
        }
        match self.transport.read(buffer)? {
            0 if self.state.has(Flag::Late) => self.receive_rest(buffer),
            0 => self.at_end(),
            n => {
                if self.state.is_idle() && !self.state.set_busy() {
                    self.state.begin_late_message();
                }
                self.bytes.add_received(n);
                Ok(n)
            }
        }
    }

    /// Receives more of a message whose first bytes arrived while the connection was closed as idle.
    /// After its reading side is shut down, a TCP socket still delivers what arrives, but a read does not
    /// wait for it.
    fn receive_rest(&self, buffer: &mut [u8]) -> io::Result<usize> {
        const LONG_ENOUGH: Duration = Duration::from_secs(1);
        let begin = Instant::now();
        while begin.elapsed() < LONG_ENOUGH && !self.state.is_closed() {
            thread::sleep(Duration::from_millis(1));
            let received = self.transport.read(buffer)?;
            if received > 0 {
                self.bytes.add_received(received);
                return Ok(received);
            }
        }
        self.at_end()
    }

    /// The end of the stream: the client has ended it, or this side has.
    fn at_end(&self) -> io::Result<usize> {
        match self.state.close_reason() {
            None => self.state.set(Flag::EndSeen, true),
            Some(reason) => reason.error(&self.client_address).map_or(Ok(()), Err)?,
        }
        Ok(0)
    }

    /// Whether something was received and not read, or the client has ended the stream.
    pub(super) fn has_arrived(&self) -> bool {
        self.transport.peek(MSG_DONTWAIT).is_ok()
    }

    fn explain_receive(&self, error: io::Error) -> io::Error {
        let timeout = self.transport.read_timeout();
        self.explain(error, "nothing received from", timeout)
    }
}

/// Ending.
impl Conn {
    /// Closes the connection when its last owner is dropped. This also ends a write that another thread is
    /// blocked in. The descriptor is closed with the last reference.
    fn close(&self) {
        if self.state.is_childs() {
            return;
        }
        let reason = self.state.close_reason();
        if reason.is_some_and(|reason| !reason.is_graceful()) {
            // Where it could not be reset before, closing resets it. Otherwise a client that floods would
            // keep kernel memory for minutes.
            self.transport.reset_on_close();
            return;
        }
        // Fails with ENOTCONN after a reset by the client.
        let is_open = self.transport.shutdown(Shutdown::Write).is_ok();
        if is_open && !self.state.has(Flag::EndSeen) {
            self.transport.discard_input();
        }
    }

    /// Ends one direction or both, in order.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.state.check_writable(&self.client_address)?;
        self.transport.shutdown(how)
    }

    pub(super) fn abort(&self) {
        self.state.abort();
        self.state.set(Flag::Unsent, false);
        self.transport.reset();
    }

    /// Ends an idle connection, unless something has arrived. Returns whether it did.
    fn end_idle(&self) -> bool {
        !self.has_arrived() && self.transport.shutdown(Shutdown::Read).is_ok()
    }
}

impl OpenConnection for Conn {
    fn drain(&self) {
        self.state.drain(|| self.end_idle());
    }

    fn force_close(&self) {
        self.state
            .close(CloseReason::Forced, || self.transport.reset());
    }
}

impl OnTimer for Conn {
    fn on_timer(&self, now: Instant) -> Option<Instant> {
        self.state
            .on_timer(now, || self.end_idle(), || self.transport.reset())
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// A reference that keeps the connection open, until it is dropped or transfers the ownership.
#[derive(Debug)]
pub(super) struct OwnedConn {
    conn: Arc<Conn>,
    is_owner: bool,
}

impl OwnedConn {
    pub(super) fn new(conn: &Arc<Conn>) -> Self {
        conn.owners.fetch_add(1, Ordering::Relaxed);
        OwnedConn {
            conn: Arc::clone(conn),
            is_owner: true,
        }
    }

    /// Moves the ownership to the value that is returned.
    pub(super) fn take(&mut self) -> Self {
        OwnedConn {
            conn: Arc::clone(&self.conn),
            is_owner: std::mem::take(&mut self.is_owner),
        }
    }

    /// Whether the connection was detached: the ownership was taken.
    pub(super) fn is_detached(&self) -> bool {
        !self.is_owner
    }
}

impl Deref for OwnedConn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl Drop for OwnedConn {
    fn drop(&mut self) {
        if self.is_owner && self.conn.owners.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.conn.close();
        }
    }
}
