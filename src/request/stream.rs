use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::link::Link;
use super::owner::{Listed, Owned};
use super::{Connection, Extensions, Lifecycle, Reader, Request, Transport, Writer};
use crate::registry::Live;
use crate::{Address, ServerHandle};

/// One connection, as a handler sees it: the same over TCP and Unix sockets. Python's
/// `StreamRequestHandler`.
///
/// The fields carry Python's names and are borrowed one by one: read lines from `rfile` while
/// writing to `wfile`.
///
/// The server closes the connection after `finish`: it sends what `wfile` holds, shuts the write
/// side down and closes. To keep the connection, [`detach`](Self::detach) it.
#[derive(Debug)]
pub struct StreamRequest {
    /// Reads from the client: buffered, with bounded lines.
    pub rfile: Reader,
    /// Writes to the client: unbuffered unless the builder was told a `wbufsize`.
    pub wfile: Writer,
    /// The client's address.
    pub client_address: Address,
    /// The server the connection came through.
    pub server: ServerHandle,
    /// Values put in by a listener, `verify_request` or the handler itself.
    pub extensions: Extensions,
    pub(super) link: Arc<Link>,
    /// `None` once the connection is detached, on both sides.
    pub(super) listed: Option<Listed>,
}

impl StreamRequest {
    /// Makes a request of a connected socket: what a [`Listener`](crate::Listener) of your own
    /// returns from `accept`.
    pub fn new(
        transport: impl Into<Transport>,
        client_address: Address,
        server: &ServerHandle,
    ) -> Self {
        let options = server.stream_options();
        let link = Link::new(
            transport.into(),
            client_address.clone(),
            server.next_id(),
            options,
        );
        let owned = Owned::new(&link);
        StreamRequest {
            rfile: Reader::new(&link, &owned, options.rbufsize, options.max_line),
            wfile: Writer::new(&link, &owned),
            client_address,
            server: server.clone(),
            extensions: Extensions::default(),
            listed: Some(Listed::new(&link, server)),
            link,
        }
    }

    /// The connection's number: unique within its server, counted from 1 in the order of accepting.
    /// The log names it.
    pub fn id(&self) -> u64 {
        self.link.id
    }

    /// The server's end of this connection: for a server on `0.0.0.0`, the address the client
    /// chose.
    ///
    /// # Errors
    ///
    /// What `getsockname` reports.
    #[doc(alias = "getsockname")]
    pub fn local_address(&self) -> io::Result<Address> {
        self.link.transport.local_address()
    }

    /// Sets `TCP_NODELAY`: small writes leave at once instead of waiting for the client to
    /// acknowledge the one before. Does nothing on a Unix socket.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    #[doc(alias = "disable_nagle_algorithm")]
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.link.transport.set_nodelay(nodelay)
    }

    /// Waits for the client's next request, and says whether there is one: `false` at the end of
    /// the stream, when the server is shutting down, and after the idle timeout.
    ///
    /// A handler of several requests per connection calls it between two of them, and so tells the
    /// server that nothing is lost if the connection ends here. A shutdown ends it at once, and a
    /// connection on which nothing was received, nor written by the handler, too; one that is inside
    /// a request is never cut by it.
    ///
    /// What `wfile` has buffered is sent first, unless `rfile` has more of what the client sent.
    ///
    /// Blocks until something arrives, at most for the [idle
    /// timeout](crate::Builder::idle_timeout), which holds in place of the read timeout, or what is
    /// left of the deadline. Without an idle timeout the read timeout holds here too. What arrives
    /// is not taken: `rfile` reads it next.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// fn shout(request: &mut StreamRequest) -> HandlerResult {
    ///     let mut line = String::new();
    ///     while request.wait_for_data()? {
    ///         line.clear();
    ///         request.rfile.read_line(&mut line)?;
    ///         request.wfile.write_all(line.to_uppercase().as_bytes())?;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = ThreadingTcpServer::bind_fn("127.0.0.1:0", shout);
    /// ```
    ///
    /// # Errors
    ///
    /// `TimedOut` after the deadline, or the read timeout if it holds; `ConnectionAborted` when a
    /// shutdown ended the connection by force; what the socket reports, in sending too.
    pub fn wait_for_data(&mut self) -> io::Result<bool> {
        if !self.rfile.buffer().is_empty() {
            return Ok(!self.link.was_ended());
        }
        // Before the mark is made: a client that takes its time to read is not idle.
        self.wfile.flush()?;
        let _idle = self.link.idle();
        // Asked after the mark is made: a shutdown sees the mark, or is seen here.
        if self.is_to_end() && !self.link.something_arrived() {
            return Ok(false);
        }
        self.rfile.wait()
    }

    /// The client's next line without its end (`\n` or `\r\n`), for protocols in which each line is
    /// a request: [`wait_for_data`](Self::wait_for_data), then a bounded line read. `None` at the end of
    /// the stream, and when the server is shutting down.
    ///
    /// # Errors
    ///
    /// Those of `wait_for_data`; `InvalidData` for a line that is not UTF-8, or longer than
    /// [`max_line`](crate::Builder::max_line).
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        if !self.wait_for_data()? {
            return Ok(None);
        }
        (&mut self.rfile).into_iter().next().transpose()
    }

    /// A handle to this connection for other threads: to send to it or to end it. See
    /// [`Connection`].
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection was detached.
    pub fn connection(&self) -> io::Result<Connection> {
        if self.rfile.is_detached() {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!(
                    "the connection from {} was detached from its request",
                    self.client_address
                ),
            ));
        }
        Ok(Connection::new(&self.link))
    }

    /// Both directions at once, for two threads: a relay reads from one in a thread of its own
    /// while writing to the other.
    ///
    /// From here on a read of `rfile` does not [send](Writer) what `wfile` has buffered: a client
    /// that sends and does not read would hold up both threads.
    ///
    /// ```no_run
    /// use std::net::{Shutdown, TcpStream};
    /// use std::{io, thread};
    ///
    /// use socketserver::prelude::*;
    ///
    /// fn relay(request: &mut StreamRequest) -> HandlerResult {
    ///     let target = TcpStream::connect("127.0.0.1:8000")?;
    ///     let client = request.connection()?;
    ///     let (rfile, wfile) = request.split();
    ///     thread::scope(|scope| {
    ///         let upstream = scope.spawn(|| {
    ///             let copied = io::copy(rfile, &mut &target);
    ///             target.shutdown(Shutdown::Write)?;
    ///             copied
    ///         });
    ///         let downstream = io::copy(&mut &target, wfile).and_then(|_| wfile.shutdown());
    ///         if downstream.is_err() {
    ///             // The other thread reads from it.
    ///             let _ = client.shutdown();
    ///         }
    ///         upstream.join().expect("copying does not panic")?;
    ///         Ok(downstream?)
    ///     })
    /// }
    /// # let _ = ThreadingTcpServer::bind_fn("127.0.0.1:0", relay);
    /// ```
    pub fn split(&mut self) -> (&mut Reader, &mut Writer) {
        self.link.untie();
        (&mut self.rfile, &mut self.wfile)
    }

    /// Breaks the connection off, so that the client does not take what it has received for all
    /// there is: it ends with a reset and not in order. asyncio's `transport.abort()`.
    ///
    /// The reset leaves at once. What `rfile` and `wfile` hold, and what the system has not sent yet,
    /// is dropped. Reads and writes, blocked ones and those through a [`Connection`] too, fail with
    /// `ConnectionAborted` from here on.
    ///
    /// # Platform-specific behavior
    ///
    /// A Unix socket has no resets: the stream just ends. On systems other than Linux the reset may
    /// leave only when the request is closed.
    #[doc(alias = "reset")]
    #[doc(alias = "SO_LINGER")]
    pub fn abort(&mut self) {
        if self.rfile.is_detached() {
            return;
        }
        let held = self.rfile.buffer().len();
        self.rfile.consume(held);
        self.link.abort();
    }

    /// Takes the connection away from the server, which no longer closes it: the returned request
    /// does, when it is dropped. It can be sent to another thread and outlive the handler and the
    /// server.
    ///
    /// It is no request of the server's any more: once the handler has ended, no limit, statistic
    /// or shutdown counts it.
    ///
    /// What `rfile` and `wfile` hold goes along. What stays behind in the handler reads as ended,
    /// and cannot be written to.
    #[must_use = "the connection is closed when the returned request is dropped"]
    pub fn detach(&mut self) -> StreamRequest {
        self.listed = None;
        StreamRequest {
            rfile: self.rfile.detach(),
            wfile: self.wfile.detach(),
            client_address: self.client_address.clone(),
            server: self.server.clone(),
            extensions: std::mem::take(&mut self.extensions),
            link: Arc::clone(&self.link),
            listed: None,
        }
    }

    fn is_to_end(&self) -> bool {
        self.listed.is_some() && self.server.is_ending()
    }
}

impl Request for StreamRequest {
    fn id(&self) -> u64 {
        self.id()
    }

    fn client_address(&self) -> &Address {
        &self.client_address
    }

    fn server(&self) -> &ServerHandle {
        &self.server
    }
}

impl Lifecycle for StreamRequest {
    const OWNS_SOCKET: bool = true;

    fn begin(&mut self) -> io::Result<()> {
        let options = self.server.stream_options();
        if options.read_timeout.is_some() {
            self.set_read_timeout(options.read_timeout)?;
        }
        if options.write_timeout.is_some() {
            self.set_write_timeout(options.write_timeout)?;
        }
        if options.disable_nagle_algorithm {
            self.set_nodelay(true)?;
        }
        match &mut self.listed {
            Some(listed) => listed.start(),
            None => Ok(()),
        }
    }

    fn begin_rejection(&mut self, within: Duration, alone: bool) -> io::Result<()> {
        match &mut self.listed {
            Some(listed) if !alone => listed.start_within(Some(within)),
            _ => self.set_timeout(Some(within)),
        }
    }

    fn abandon(&mut self) {
        self.link.abandon();
    }

    fn end(&mut self) -> io::Result<()> {
        self.wfile.flush()
    }

    fn traffic(&self) -> (u64, u64) {
        self.link.traffic()
    }
}

/// The socket itself, for options this type does not name: `socket2::SockRef::from(&*request)`.
/// Reading from it goes past what `rfile` has buffered. Python's `self.request`.
impl AsFd for StreamRequest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
