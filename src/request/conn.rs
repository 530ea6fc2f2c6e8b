use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::client_address::ClientAddress;
use super::close_reason::{CloseReason, closed};
use super::queue::Queue;
use super::state::{Arrived, ConnState, Flag, Snapshot};
use super::transport::Transport;
use crate::green::Interest;
use crate::handle::{ConnectionEntry, OpenConnection};
use crate::options::at_most;
use crate::statistics::ByteCounters;
use crate::sys;
use crate::sys::linger::{Input, Lingering};
use crate::sys::timer::{OnTimer, Timer};
use crate::tls::Session;
use crate::{Address, ServerHandle, task};

/// One open connection. A request's `rfile` and `wfile` own it: it is closed when both are dropped.
/// Handles, the registry and the timer do not keep it open.
#[derive(Debug)]
#[repr(C)] // In this order: what each message uses is in few cache lines.
pub(super) struct Conn {
    /// Locked for a whole message, so that a broadcast never lands in the middle of a reply.
    pub(super) write_buffer: task::Mutex<Vec<u8>>,
    pub(super) transport: Transport,
    pub(super) bytes: Arc<ByteCounters>,
    pub(super) wbufsize: usize,
    pub(super) state: ConnState,
    pub(super) id: u64,
    /// Locked for a moment, also while another thread holds the lock of the write buffer.
    pub(super) queue: Mutex<Queue>,
    /// Why the queue could not be sent. The next read that finds no input returns it.
    pub(super) send_error: OnceLock<io::ErrorKind>,
    lingering: Arc<Lingering>,
    /// The longest that a read and a write may block in `verify_request`.
    verify_timeouts: (Duration, Duration),
    owners: AtomicUsize,
    pub(super) me: Weak<Conn>,
    pub(super) client_address: ClientAddress,
}

impl Conn {
    pub(super) fn new(
        transport: Transport,
        peer: Address,
        id: u64,
        server: &ServerHandle,
    ) -> Arc<Self> {
        const VERIFY_TIMEOUT: Duration = Duration::from_secs(1);
        let verify = |timeout| at_most(VERIFY_TIMEOUT, timeout);
        let options = server.stream_options();
        Arc::new_cyclic(|me| Conn {
            transport,
            client_address: ClientAddress::new(peer),
            id,
            state: ConnState::new(options.idle_timeout),
            write_buffer: task::Mutex::default(),
            wbufsize: options.wbufsize,
            queue: Mutex::default(),
            bytes: Arc::default(),
            send_error: OnceLock::new(),
            lingering: Arc::clone(server.lingering()),
            verify_timeouts: (verify(options.read_timeout), verify(options.write_timeout)),
            owners: AtomicUsize::new(0),
            me: Weak::clone(me),
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
    /// timeout, which the system reports as "would block". `failed` says what was not done.
    pub(super) fn explain(
        &self,
        error: io::Error,
        failed: &str,
        timeout: Option<Duration>,
    ) -> io::Error {
        let reason = self.state.close_reason();
        if let Some(error) = reason.and_then(|reason| reason.error(&self.client_address)) {
            return error;
        }
        match timeout {
            Some(timeout) if error.kind() == io::ErrorKind::WouldBlock => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{failed} {} within {timeout:?}", self.client_address),
            ),
            _ => error,
        }
    }

    /// How long one read may block.
    pub(super) fn read_timeout(&self) -> Option<Duration> {
        let timeout = self.transport.read_timeout().ok().flatten();
        self.limited(timeout, self.verify_timeouts.0)
    }

    /// How long one write may block.
    pub(super) fn write_timeout(&self) -> Option<Duration> {
        let timeout = self.transport.write_timeout().ok().flatten();
        self.limited(timeout, self.verify_timeouts.1)
    }

    fn limited(&self, timeout: Option<Duration>, limit: Duration) -> Option<Duration> {
        if self.is_verified() {
            return timeout;
        }
        Some(at_most(limit, timeout))
    }

    pub(super) fn closed(&self) -> io::Error {
        closed(&self.client_address)
    }

    /// Until its handler begins, the connection is with `verify_request`, usually on the thread of the accept loop.
    pub(super) fn is_verified(&self) -> bool {
        self.state.has(Flag::Begun) || !self.state.is_servers()
    }
}

/// The end of a wait that begins now; `None` is no limit.
pub(super) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}

/// Between two messages.
impl Conn {
    /// [`ConnState::may_begin`], with the state from before the handler waited for the message.
    #[inline(always)]
    pub(super) fn may_begin(&self, before: Snapshot, position: u64) -> io::Result<bool> {
        if before.has(Flag::Retired) {
            self.end_retired(before);
        }
        self.state.may_begin(position, &self.client_address)
    }

    /// A message of a retired connection has ended. After the last one the connection ends, unless the next one has
    /// arrived already. The reading side stays open: otherwise a client that is just sending would be reset.
    #[cold]
    #[inline(never)]
    fn end_retired(&self, before: Snapshot) {
        if before.has(Flag::LastMessage) {
            self.state.end_idle(|| self.arrived());
        } else {
            self.state.set(Flag::LastMessage, true);
        }
    }
}

/// Ending.
impl Conn {
    /// Closes the connection when its last owner is dropped. This also ends a write that another thread is
    /// blocked in. The descriptor is closed with the last reference.
    fn close(&self) {
        let is_cut = self.close_queue();
        if self.state.is_childs() {
            return;
        }
        if is_cut {
            self.transport.reset();
        }
        if is_cut || self.state.is_reset() {
            // Where it could not be reset before, closing resets it. Otherwise a client that floods would
            // keep kernel memory for minutes.
            self.transport.reset_on_close();
            return;
        }
        self.end_session();
        if self.state.has(Flag::ReadingEnded) {
            // After a shutdown of both sides, Linux answers what arrives with a reset. So the sending side
            // stays open until the client has received everything, unless another thread is sending.
            self.transport.discard_input();
            let is_sending = self.write_buffer.try_lock().is_none();
            if !is_sending && sys::stream::unacknowledged(&self.transport) > 0 {
                self.lingering.add(&self.transport, Input::Leave);
            } else {
                let _ = self.transport.shutdown(Shutdown::Write);
            }
            return;
        }
        // Fails with ENOTCONN after a reset by the client.
        let is_open = self.transport.shutdown(Shutdown::Write).is_ok();
        if !is_open || self.state.has(Flag::EndSeen) || self.transport.discard_input() {
            return;
        }
        // Without a reply there is nothing that a reset can destroy.
        if self.sent() > 0 {
            self.lingering.add(&self.transport, Input::Discard);
        }
    }

    /// Ends one direction or both, in order.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Both {
            self.state.check_writable(&self.client_address)?;
            if let Some(session) = self.transport.session() {
                let until = deadline(self.write_timeout());
                self.after_all_sent(|| self.close_session(session, until))??;
            }
            return self.transport.shutdown(how);
        }
        self.state.check_open(&self.client_address)?;
        self.end_session();
        self.discard_queue_and(|| self.transport.shutdown(how))
    }

    /// Ends an encrypted stream with `close_notify`. The caller holds the lock of the write buffer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the deadline.
    fn close_session(&self, session: &Session, deadline: Option<Instant>) -> io::Result<()> {
        while !session.close(&self.transport)? {
            self.transport.wait(Interest::Write, deadline)?;
        }
        Ok(())
    }

    /// The same at the end of a request: the client may have to read before there is space for it.
    pub(super) fn end_encrypted(&self) {
        const LONGEST_WAIT: Duration = Duration::from_secs(5);
        let Some(session) = self.transport.session() else {
            return;
        };
        let is_open = !self.state.has(Flag::Torn) && !self.state.is_reset();
        if is_open && !self.state.is_childs() {
            let until = Instant::now() + at_most(LONGEST_WAIT, self.write_timeout());
            if let Some(_lock) = self.write_buffer.try_lock_until(until) {
                let _ = self.close_session(session, Some(until));
            }
        }
    }

    /// The same, unless it would block, or be in the middle of a message.
    fn end_session(&self) {
        if let Some(session) = self.transport.session() {
            let lock = self.write_buffer.try_lock();
            if lock.is_some() && !self.state.has(Flag::Torn) {
                let _ = session.close(&self.transport);
            }
        }
    }

    pub(super) fn abort(&self) {
        self.state.end(CloseReason::Aborted);
        self.state.set(Flag::Unsent, false);
        self.reset();
    }

    pub(super) fn reset(&self) {
        self.discard_queue_and(|| self.transport.reset());
    }

    /// After the state has reset the connection: its lock must not be held.
    fn discard_if_reset(&self) {
        if self.state.is_reset() {
            self.discard_queue();
        }
    }

    /// A blocked read sees the end of the stream.
    fn end_idle(&self) {
        if self.transport.shutdown(Shutdown::Read).is_ok() {
            self.state.set(Flag::ReadingEnded, true);
        }
    }
}

impl OpenConnection for Conn {
    fn drain(&self) {
        let begin = || match self.transport.session() {
            // More may arrive at any time, so this looks once.
            Some(session) => Arrived {
                received: self.received(),
                unread: session.mark_arrived(&self.transport),
            },
            None => self.arrived(),
        };
        self.state
            .drain(begin, || self.arrived(), || self.end_idle());
    }

    fn retire(&self) {
        self.state.retire();
    }

    fn force_close(&self) {
        self.state
            .close(CloseReason::Forced, || self.transport.reset());
        self.discard_if_reset();
    }
}

impl OnTimer for Conn {
    fn on_timer(&self, now: Instant) -> Option<Instant> {
        let next = self.state.on_timer(
            now,
            || self.arrived(),
            || self.end_idle(),
            || self.transport.reset(),
        );
        self.discard_if_reset();
        next
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
