use std::io;
use std::sync::Arc;

use super::Connection;

/// A queue of outgoing messages with a limit in bytes: [`push`](Self::push) never blocks, so a client that
/// does not read delays nobody. Made by [`Connection::outbox`].
///
/// What the socket takes is sent at once. The rest is sent by one thread of the process, when the client has
/// read. All outboxes of a connection share one queue. An outbox does not keep the connection open.
///
/// A message that does not fit is the caller's to handle:
///
/// | a client that does not read | with the error of `push` |
/// |---|---|
/// | misses messages | `let _ = outbox.push(message);` |
/// | is disconnected | `outbox.connection().shutdown()` |
/// | ends what the sender does | `outbox.push(message)?;` |
///
/// **Order.** Messages are sent whole and in the order of the calls. A write after a push, through
/// [`send_all`](Connection::send_all) or the handler's `wfile`, first waits until the socket has taken what was
/// queued before it, within the write timeout. What a `wfile` with a [`wbufsize`](crate::Builder::wbufsize)
/// buffers is sent when it is flushed.
///
/// **A client that does not read.** If nothing could be sent for the connection's write timeout, also one that
/// was set later, the queue is dropped and the connection is reset: the handler's reads and writes fail with
/// `TimedOut`. Without a write timeout only the limit applies.
///
/// **The end.** When the handler ends, `push` fails with `NotConnected`, and what is queued is sent before the
/// connection is closed, within the write timeout. If some of it is left then, it is dropped and the
/// connection is reset, so that the client does not take what it has received for all. A flush of `wfile`
/// sends the queue too. After [`abort`](super::StreamRequest::abort), [`shutdown`](Connection::shutdown) and a
/// forced close it is dropped. A queue does not make a connection busy: an idle one ends with a graceful
/// shutdown or its idle timeout, after its queue was sent.
///
/// **In a forked process** there is no thread that sends. There `push` blocks as `send_all` does, and no limit
/// applies.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use parking_lot::Mutex;
/// use socketserver::prelude::*;
/// use socketserver::request::Outbox;
///
/// # fn main() -> std::io::Result<()> {
/// let members = Arc::new(Mutex::new(HashMap::<u64, Outbox>::new()));
/// let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", move |request| {
///     let outbox = request.connection()?.outbox(256 << 10);
///     members.lock().insert(request.id(), outbox);
///     while let Some(line) = request.next_line()? {
///         // All queues share the text.
///         let message: Arc<[u8]> = format!("{line}\n").into_bytes().into();
///         for member in members.lock().values() {
///             if member.push(Arc::clone(&message)).is_err() {
///                 let _ = member.connection().shutdown();
///             }
///         }
///     }
///     members.lock().remove(&request.id());
///     Ok(())
/// })?;
/// # let server = server.serve_in_background()?;
/// # let mut client = std::net::TcpStream::connect(server.server_address())?;
/// # client.write_all(b"hello\n")?;
/// # client.shutdown(std::net::Shutdown::Write)?;
/// # assert_eq!(std::io::read_to_string(client)?, "hello\n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[doc(alias("queue", "mpsc", "drain"))]
pub struct Outbox {
    connection: Connection,
    limit: usize,
}

impl Outbox {
    pub(super) fn new(connection: Connection, limit: usize) -> Self {
        Outbox { connection, limit }
    }

    /// Queues a message, and sends it at once if the client reads. Never blocks, except in a forked process.
    ///
    /// A message is a `Vec<u8>`, a `&[u8]` or an `Arc<[u8]>`. An `Arc` is shared: a broadcast copies nothing.
    ///
    /// # Errors
    ///
    /// `QuotaExceeded` if the message does not fit into the limit, and nothing was queued. Each message in the
    /// queue counts with what was not sent yet, and 64 bytes, so a message that is longer than the limit less
    /// 64 bytes never fits. `NotConnected` once the connection is closed, `BrokenPipe` after a message that was
    /// sent only in part, and the other errors of [`Connection::send_all`].
    pub fn push(&self, message: impl Into<Arc<[u8]>>) -> io::Result<()> {
        self.connection.push(message.into(), self.limit)
    }

    /// The connection that it sends to.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}
