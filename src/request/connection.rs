use std::fmt;
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Outbox;
use super::close_reason::closed;
use super::conn::Conn;
use crate::Address;

/// A cloneable handle to an open connection: sends to it, or ends it, from any thread. For a registry of
/// connections, to broadcast and to kick.
///
/// [`outbox`](Self::outbox) is for messages to clients of whom some may not read.
///
/// It does not keep the connection open. After the server has closed it, all methods fail with
/// `NotConnected`. Two handles are equal when they stand for the same connection.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use parking_lot::Mutex;
/// use socketserver::prelude::*;
/// use socketserver::request::Connection;
///
/// # fn main() -> std::io::Result<()> {
/// let everybody = Arc::new(Mutex::new(Vec::<Connection>::new()));
/// let builder = ThreadingTcpServer::builder().write_timeout(Duration::from_secs(1));
/// let server = builder.bind_fn("127.0.0.1:0", move |request| {
///     let me = request.connection()?;
///     everybody.lock().push(me.clone());
///     while let Some(line) = request.next_line()? {
///         // A copy of the list, so that a slow client does not hold the lock.
///         let others = everybody.lock().clone();
///         for other in others.iter().filter(|other| **other != me) {
///             if other.send_all(format!("{line}\n").as_bytes()).is_err() {
///                 everybody.lock().retain(|one| one != other);
///             }
///         }
///     }
///     Ok(())
/// })?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    conn: Weak<Conn>,
    client_address: Address,
    id: u64,
}

impl Connection {
    pub(super) fn new(conn: &Arc<Conn>) -> Self {
        Connection {
            conn: Arc::downgrade(conn),
            client_address: conn.client_address.get().clone(),
            id: conn.id,
        }
    }

    /// The connection's number: unique within its server, counted from 1 in the order of accepting.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client's address.
    pub fn client_address(&self) -> &Address {
        &self.client_address
    }

    /// Sends all of `data`, never in the middle of what another thread sends, and after what is queued in an
    /// [`Outbox`]. It bypasses the buffer of the handler's `wfile`, which is sent later.
    ///
    /// Blocks while the client does not read or another thread sends; with a write timeout, at most for that
    /// time. After an error in the middle of a message, nothing more can be sent.
    ///
    /// # Errors
    ///
    /// `NotConnected` once the connection is closed, `TimedOut` after the write timeout, `BrokenPipe` after a
    /// message that was sent only in part, and what the socket reports.
    #[doc(alias = "sendall")]
    pub fn send_all(&self, data: &[u8]) -> io::Result<()> {
        self.conn()?.send_all(data)
    }

    /// A queue of outgoing messages, for which at most `limit` bytes of memory may wait. Its
    /// [`push`](Outbox::push) never blocks.
    pub fn outbox(&self, limit: usize) -> Outbox {
        Outbox::new(self.clone(), limit)
    }

    pub(super) fn push(&self, message: Arc<[u8]>, limit: usize) -> io::Result<()> {
        self.conn()?.push(message, limit)
    }

    /// Sets how long one write may take, in this handle and in the handler, with the time that it waits for
    /// other threads. `None`, the default, is no limit.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero, `NotConnected` once the connection is closed.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.conn()?.transport.set_write_timeout(timeout)
    }

    /// Ends the connection in both directions: the handler's blocked read sees the end of the
    /// stream, and its writes fail with `BrokenPipe`. The handler then ends as it sees fit. What is queued in
    /// an [`Outbox`] is dropped.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is closed already. `ConnectionAborted` or `TimedOut` if it was
    /// [aborted](super::StreamRequest::abort), closed by force, or ended after its maximum lifetime.
    pub fn shutdown(&self) -> io::Result<()> {
        self.conn()?.shutdown(Shutdown::Both)
    }

    fn conn(&self) -> io::Result<Arc<Conn>> {
        let conn = self.conn.upgrade();
        conn.filter(|conn| !conn.state.is_childs())
            .ok_or_else(|| closed(&self.client_address))
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.conn, &other.conn)
    }
}

impl Eq for Connection {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("client_address", &self.client_address)
            .finish_non_exhaustive()
    }
}
