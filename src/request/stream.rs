use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::conn::{Conn, OwnedConn};
use super::state::{Flag, Owner};
use super::transport::Transport;
use super::{Connection, Extensions, Lifecycle, ReadHalf, Reader, Request, Writer};
use crate::error::RequestError;
use crate::handle::ConnectionEntry;
use crate::options::at_most;
#[cfg(feature = "proxy-protocol")]
use crate::proxy_protocol::ProxyHeader;
use crate::proxy_protocol::ProxyProtocol;
use crate::sys::timer::Timer;
use crate::{Address, ServerHandle};

/// One connection, as a handler sees it: the same over TCP and Unix sockets. Python's
/// `StreamRequestHandler`.
///
/// The fields have Python's names, and can be borrowed one by one: read from `rfile` while writing to
/// `wfile`. After `finish` the server flushes `wfile`, shuts the write side down and closes the socket.
/// [`detach`](Self::detach) keeps the connection open.
#[derive(Debug)]
pub struct StreamRequest {
    /// Reads from the client: buffered, with limited lines.
    pub rfile: Reader,
    /// Writes to the client: unbuffered, unless the builder sets a `wbufsize`.
    pub wfile: Writer,
    /// The client's address. Behind a proxy it is the proxy's, unless the proxy sends a PROXY header (feature
    /// `proxy-protocol`).
    pub client_address: Address,
    /// The server that accepted the connection.
    pub server: ServerHandle,
    /// Values from a listener, `verify_request` or the handler itself.
    pub extensions: Extensions,
    pub(super) conn: Arc<Conn>,
    /// For the idle timeout and the maximum lifetime.
    pub(super) timer: Option<Timer>,
}

impl StreamRequest {
    /// Makes a request of a connected TCP or Unix socket: what a [`Listener`](crate::Listener) of your own
    /// returns from `accept`. The server counts it, and a shutdown ends it, once `accept` has returned it.
    pub fn new(socket: impl Into<OwnedFd>, client_address: Address, server: &ServerHandle) -> Self {
        Self::from_transport(socket.into().into(), client_address, server)
    }

    pub(crate) fn from_transport(
        transport: Transport,
        client_address: Address,
        server: &ServerHandle,
    ) -> Self {
        let options = server.stream_options();
        let (id, address) = (server.next_id(), client_address.clone());
        let conn = Conn::new(transport, address, id, server);
        let reader = OwnedConn::new(&conn);
        StreamRequest {
            rfile: Reader::new(reader, options.rbufsize, options.max_line),
            wfile: Writer::new(OwnedConn::new(&conn)),
            client_address,
            server: server.clone(),
            extensions: Extensions::default(),
            conn,
            timer: None,
        }
    }

    /// The connection's number: unique within its server, counted from 1. The log names it.
    pub fn id(&self) -> u64 {
        self.conn.id
    }

    /// The address that the client has connected to.
    ///
    /// # Errors
    ///
    /// What `getsockname` reports.
    #[doc(alias = "getsockname")]
    pub fn local_address(&self) -> io::Result<Address> {
        self.conn.transport.local_address()
    }

    /// The address of the connection's other end: the client's, or that of the proxy which has sent a PROXY
    /// header for its client.
    #[doc(alias = "getpeername")]
    pub fn peer_address(&self) -> Address {
        self.conn.client_address.peer().clone()
    }

    /// The PROXY header of this connection. `None` if the server does not
    /// [require](crate::Builder::proxy_protocol) headers, and before `verify_request`. Feature `proxy-protocol`.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// /// Tells clients how the proxy sees them.
    /// fn describe(request: &mut StreamRequest) -> HandlerResult {
    ///     if let Some(header) = request.proxy_header() {
    ///         let host = header.authority().unwrap_or("no host");
    ///         let tls = header.ssl().and_then(|ssl| ssl.version()).unwrap_or("no TLS");
    ///         writeln!(request.wfile, "{host}, {tls}")?;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = TcpServer::bind_fn("127.0.0.1:0", describe);
    /// ```
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_header(&self) -> Option<Arc<ProxyHeader>> {
        self.conn.client_address.header().cloned()
    }

    /// Sets `TCP_NODELAY`: a small write does not wait until the client has acknowledged the one before.
    /// Does nothing on a Unix socket.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    #[doc(alias = "disable_nagle_algorithm")]
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.conn.transport.set_nodelay(nodelay)
    }

    /// Waits for the next message, and returns whether there is one: `false` at the end of the stream,
    /// when the server shuts down, and after the idle timeout. The data stays in `rfile`. Messages that have
    /// begun to arrive before a shutdown are served, also several of them.
    ///
    /// Meanwhile the connection is idle: a graceful shutdown ends it at once. (A new connection is idle
    /// too, until something is received or sent.) A connection that is not idle is never ended by a
    /// graceful shutdown. For a protocol of lines, loop over `rfile` or use
    /// [`next_line`](Self::next_line), which do the same.
    ///
    /// `wfile` is flushed first, unless `rfile` has more data of the client in its buffer.
    ///
    /// Blocks until something arrives, at most for the [idle timeout](crate::Builder::idle_timeout), which
    /// replaces the read timeout here. Without an idle timeout the read timeout applies.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// /// Messages of four bytes.
    /// fn echo(request: &mut StreamRequest) -> HandlerResult {
    ///     let mut message = [0; 4];
    ///     while request.wait_for_data()? {
    ///         request.rfile.read_exact(&mut message)?;
    ///         request.wfile.write_all(&message)?;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = ThreadingTcpServer::bind_fn("127.0.0.1:0", echo);
    /// ```
    ///
    /// # Errors
    ///
    /// `TimedOut` after the maximum lifetime, or the read timeout where it applies; `ConnectionAborted`
    /// after a forced close; errors of the socket, also of the flush.
    #[doc(alias("keep-alive", "idle"))]
    pub fn wait_for_data(&mut self) -> io::Result<bool> {
        self.rfile.wait_for_data()
    }

    /// Whether a part of a message is buffered or has arrived. Never blocks, and does not mark the connection
    /// idle. The end of the stream does not count. Of an encrypted connection, what has arrived may turn out to
    /// be no data.
    ///
    /// During a shutdown a handler can see here that the current answer is the last, to say so to the client
    /// (HTTP: `Connection: close`): messages that have arrived have to be answered too.
    ///
    /// ```
    /// use socketserver::prelude::*;
    ///
    /// fn handle(request: &mut StreamRequest) -> HandlerResult {
    ///     while let Some(line) = request.next_line()? {
    ///         writeln!(request.wfile, "{line}")?;
    ///         if request.server.is_shutting_down() && !request.has_data() {
    ///             writeln!(request.wfile, "goodbye")?;
    ///             break;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = TcpServer::bind_fn("127.0.0.1:0", handle);
    /// ```
    #[doc(alias("in_waiting", "FIONREAD", "pipelining"))]
    pub fn has_data(&self) -> bool {
        self.rfile.has_data()
    }

    /// The next line as text without its end (`\n` or `\r\n`). **Each line is a message**: the connection
    /// is idle until it begins. `None` where [`wait_for_data`](Self::wait_for_data) returns `false`.
    ///
    /// # Errors
    ///
    /// Those of `wait_for_data`; `InvalidData` for a line that is not UTF-8, or longer than
    /// [`max_line`](crate::Builder::max_line).
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        if !self.rfile.wait_for_data()? {
            return Ok(None);
        }
        io::BufRead::lines(&mut self.rfile).next().transpose()
    }

    /// A handle to this connection, for other threads.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection was detached.
    pub fn connection(&self) -> io::Result<Connection> {
        if self.rfile.is_detached() {
            return Err(self.detached());
        }
        Ok(Connection::new(&self.conn))
    }

    /// Both directions, for two threads of the handler: a relay reads from one while it writes to the
    /// other. From here on a read does not flush [`wfile`](Writer): a client that only sends would block both
    /// threads.
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
    ///     let (mut rfile, wfile) = request.split();
    ///     thread::scope(|scope| {
    ///         let upstream = scope.spawn(|| {
    ///             let copied = io::copy(&mut rfile, &mut &target);
    ///             target.shutdown(Shutdown::Write)?;
    ///             copied
    ///         });
    ///         let downstream = io::copy(&mut &target, wfile).and_then(|_| wfile.shutdown());
    ///         if downstream.is_err() {
    ///             // Ends the read of the other thread.
    ///             let _ = client.shutdown();
    ///         }
    ///         upstream.join().expect("copying does not panic")?;
    ///         Ok(downstream?)
    ///     })
    /// }
    /// # let _ = ThreadingTcpServer::bind_fn("127.0.0.1:0", relay);
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, &mut Writer) {
        self.conn.state.set(Flag::Split, true);
        (ReadHalf(&mut self.rfile), &mut self.wfile)
    }

    /// Ends the connection with a reset, so that the client does not take what it has received for all
    /// there is. asyncio's `transport.abort()`.
    ///
    /// The reset is sent at once, and all buffered data is dropped. Reads and writes, also those that block
    /// in other threads, fail with `ConnectionAborted`.
    ///
    /// # Platform-specific behavior
    ///
    /// A Unix socket has no resets: the stream ends. Where a reset cannot be sent at once, it is sent when
    /// the request is closed.
    #[doc(alias("reset", "SO_LINGER"))]
    pub fn abort(&mut self) {
        if !self.rfile.is_detached() {
            let buffered = self.rfile.buffer().len();
            io::BufRead::consume(&mut self.rfile, buffered);
            self.conn.abort();
        }
    }

    /// Takes the connection away from the server. The returned request closes it when it is dropped; it
    /// can be sent to another thread, and outlive the handler and the server.
    ///
    /// No limit, timeout or shutdown of the server applies to it any more, and no statistic counts it
    /// once the handler has ended.
    ///
    /// What is buffered moves along. What stays with the handler is at its end, and cannot be written to.
    #[doc(alias("hijack", "upgrade"))]
    #[must_use = "the connection is closed when the returned request is dropped"]
    pub fn detach(&mut self) -> StreamRequest {
        self.timer = None;
        self.conn.state.set_owner(Owner::Detached);
        self.conn.bytes.detach();
        StreamRequest {
            rfile: self.rfile.detach(),
            wfile: self.wfile.detach(),
            client_address: self.client_address.clone(),
            server: self.server.clone(),
            extensions: std::mem::take(&mut self.extensions),
            conn: Arc::clone(&self.conn),
            timer: None,
        }
    }

    /// Both directions as values of their own, for two threads that outlive the handler:
    /// `request.detach().into_split()`. The connection is taken away from the server, as
    /// [`detach`](Self::detach) does. It is closed when both are dropped.
    ///
    /// A read, also the loop over lines, does not flush the [`Writer`], and no line marks the connection idle:
    /// a client that only sends would block both threads. Dropping the `Writer` flushes it, but the client
    /// sees the end of the stream only after [`Writer::shutdown`], or when both are dropped.
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use std::{io, thread};
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> io::Result<()> {
    /// let server = TcpServer::bind_fn("127.0.0.1:0", |request| {
    ///     let (mut rfile, mut wfile) = request.detach().into_split();
    ///     wfile.write_all(b"hello\n")?;
    ///     // The server accepts the next client while these two go on.
    ///     thread::spawn(move || io::copy(&mut rfile, &mut io::sink()));
    ///     thread::spawn(move || wfile.write_all(b"from a thread\n").and_then(|()| wfile.shutdown()));
    ///     Ok(())
    /// })?;
    /// let server = server.serve_in_background()?;
    /// let client = TcpStream::connect(server.server_address())?;
    /// assert_eq!(io::read_to_string(client)?, "hello\nfrom a thread\n");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("split", "into_inner"))]
    #[must_use = "the connection is closed when both halves are dropped"]
    pub fn into_split(mut self) -> (Reader, Writer) {
        let request = self.detach();
        request.conn.state.set(Flag::Split, true);
        (request.rfile, request.wfile)
    }

    /// The socket itself, and what `rfile` has received and not yet returned, for code that does its own
    /// I/O: `request.detach().into_parts()`. The connection is taken away from the server, as
    /// [`detach`](Self::detach) does.
    ///
    /// `wfile` is flushed, which may block as a write does. Nothing is shut down, so the client notices
    /// nothing. Timeouts and other options of the socket stay as they were set. Handles to the
    /// [connection](Self::connection) fail with `NotConnected` from here on.
    ///
    /// The socket is a duplicate. The library's own is closed, without a shutdown, once nothing refers to the
    /// connection: at the latest when the handler that it was detached from has ended.
    ///
    /// ```
    /// use std::io;
    /// use std::net::TcpStream;
    ///
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> io::Result<()> {
    /// let server = TcpServer::bind_fn("127.0.0.1:0", |request| {
    ///     request.rfile.readline(100)?;
    ///     let (socket, buffered) = request.detach().into_parts()?;
    ///     let mut socket = TcpStream::from(socket);
    ///     // What the client has sent is in `buffered` first, and then in the socket.
    ///     socket.write_all(&buffered)?;
    ///     io::copy(&mut &socket, &mut &socket)?;
    ///     Ok(())
    /// })?;
    /// let server = server.serve_in_background()?;
    /// let mut client = TcpStream::connect(server.server_address())?;
    /// client.write_all(b"upgrade\nthe rest")?;
    /// client.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(io::read_to_string(client)?, "the rest");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Unsupported` with TLS; `NotConnected` if the connection was detached from this value before; the errors of a write, also
    /// those of an earlier message that was sent only in part; no descriptor is free. The connection is closed
    /// then.
    #[doc(alias("into_inner", "into_raw_fd", "detach"))]
    pub fn into_parts(mut self) -> io::Result<(OwnedFd, Vec<u8>)> {
        let request = self.detach();
        if request.rfile.is_detached() {
            return Err(self.detached());
        }
        if request.conn.transport.session().is_some() {
            let client = &self.client_address;
            let text =
                format!("the connection from {client} is encrypted: its socket is of no use");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        request.conn.transport.set_exposed();
        let socket = request.conn.as_fd().try_clone_to_owned()?;
        request.conn.release()?;
        Ok((socket, request.rfile.buffer().to_vec()))
    }

    pub(super) fn detached(&self) -> io::Error {
        let client = &self.client_address;
        let message = format!("the connection from {client} was detached from its request");
        io::Error::new(io::ErrorKind::NotConnected, message)
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

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

impl Lifecycle for StreamRequest {
    const OWNS_SOCKET: bool = true;

    fn connection_entry(&self) -> Option<ConnectionEntry> {
        Some(self.conn.entry())
    }

    fn receive_proxy_header(&mut self, proxies: &ProxyProtocol) -> io::Result<bool> {
        let Some(header) = self.conn.receive_proxy_header(proxies.timeout())? else {
            return Ok(false);
        };
        if let Some(source) = header.source() {
            self.client_address = source.clone();
        }
        self.conn.client_address.set_header(header);
        Ok(true)
    }

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
        if self.conn.state.is_servers() {
            self.timer = self.conn.begin(options.max_lifetime)?;
        }
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn handshake(&mut self) -> io::Result<()> {
        self.begin_tls()
    }

    fn begin_rejection(&mut self, timeout: Duration, may_use_timer: bool) -> io::Result<()> {
        let options = self.server.stream_options();
        self.set_read_timeout(at_most(timeout, options.read_timeout))?;
        self.set_write_timeout(at_most(timeout, options.write_timeout))?;
        if may_use_timer {
            self.set_max_lifetime(timeout)?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.rfile.is_detached() {
            self.conn.end_queue();
        }
        io::Write::flush(&mut self.wfile)?;
        if !self.rfile.is_detached() {
            self.conn.end_encrypted();
        }
        Ok(())
    }

    fn is_disconnect(&self, error: &RequestError) -> bool {
        match error.io_kind() {
            _ if self.rfile.is_detached() => false,
            // After a reset by the client the socket has no peer.
            Some(io::ErrorKind::NotConnected) => SockRef::from(&*self.conn).peer_addr().is_err(),
            Some(io::ErrorKind::UnexpectedEof) => {
                self.conn.state.has(Flag::EndSeen) && !self.rfile.has_ended_idle()
            }
            _ => false,
        }
    }

    fn abandon(&mut self) {
        self.conn.state.set_owner(Owner::Child);
    }

    fn byte_counts(&self) -> (u64, u64) {
        self.conn.bytes.totals()
    }
}

/// The socket itself, for options that this type does not name: `socket2::SockRef::from(&*request)`. From then on the
/// program may change the socket's timeouts and mode at any time. So each message costs up to three system calls more on a
/// green task, and `send_file` copies. Connections inherit options from the listening socket without that:
/// `SockRef::from(server.listener())`.
///
/// Reading from it bypasses what `rfile` has buffered. Python's `self.request`.
///
/// In a `select` or `poll` of your own, "not readable" says nothing about [`Reader::buffer`]: bytes of the
/// client may be there. Look at the buffer first, and wait for the descriptor only if it is empty. With TLS that does not
/// help either: decrypted bytes may wait elsewhere, and only a read knows them.
impl AsFd for StreamRequest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.conn.transport.set_exposed();
        self.conn.as_fd()
    }
}
