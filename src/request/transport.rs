use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::known_options::KnownOptions;
use super::wait::Registrations;
use crate::Address;
use crate::options::check_time;
use crate::sys::stream::{self, MSG_NOSIGNAL};
use crate::sys::{self, MSG_DONTWAIT, MSG_PEEK, signals};
use crate::tls::Session;

/// How many slices the system takes in one call: `IOV_MAX`.
pub(super) const MAX_SLICES: usize = 1024;

const SEND_FLAGS: i32 = MSG_DONTWAIT | MSG_NOSIGNAL;

/// The connected socket of a request, over TCP or a Unix socket, and its TLS session if it has one.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: Kind,
    options: KnownOptions,
    #[cfg(feature = "tls")]
    session: OnceLock<Box<Session>>,
    pub(super) registrations: Registrations,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same call on either socket.
macro_rules! on_socket {
    ($transport:expr, $socket:ident => $call:expr) => {
        match &$transport.socket {
            Kind::Tcp($socket) => $call,
            Kind::Unix($socket) => $call,
        }
    };
}

impl Transport {
    fn new(socket: Kind, options: KnownOptions) -> Self {
        Transport {
            socket,
            options,
            #[cfg(feature = "tls")]
            session: OnceLock::new(),
            registrations: Registrations::default(),
        }
    }

    /// A connection, whose listener has a timeout that it inherits or not.
    pub(crate) fn accepted(transport: Self, inherits_timeout: bool) -> Self {
        if inherits_timeout {
            transport.set_exposed();
        }
        transport
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self.socket, Kind::Unix(_))
    }

    /// What is read and written from here on is encrypted. Returns the session that it has already as the error.
    #[cfg(feature = "tls")]
    pub(super) fn set_session(&self, session: Session) -> Result<(), Box<Session>> {
        self.session.set(Box::new(session))
    }

    #[inline(always)]
    pub(super) fn session(&self) -> Option<&Session> {
        #[cfg(feature = "tls")]
        return self.session.get().map(|session| &**session);
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Blocks until something arrives, at most for the read timeout. Not with a session.
    pub(super) fn blocking_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut deadline = None;
        loop {
            match on_socket!(self, socket => (&*socket).read(buffer)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => signals::run_pending(),
                // A task that sends a file has made the socket non-blocking for a moment.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.never_times_out() => {}
                received => return received,
            }
            // A read that is repeated would wait for the whole timeout again.
            let timeout = self.read_timeout()?;
            let until = || Instant::now().checked_add(timeout?);
            if !stream::wait(self, libc::POLLIN, *deadline.get_or_insert_with(until))? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    fn never_times_out(&self) -> bool {
        self.options.read_timeout() == Some(None)
    }

    /// Fails with `WouldBlock` instead of blocking.
    #[inline(always)]
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(session) = self.session() {
            return self.try_encrypted(session, |had_event| {
                session.receive(self, had_event, buffer)
            });
        }
        stream::try_receive(self, buffer)
    }

    /// Sends what there is space for; fails with `WouldBlock` if there is none. The next call begins with the same
    /// bytes then.
    #[inline(always)]
    pub(super) fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        if let Some(session) = self.session() {
            return session.send(self, &[IoSlice::new(data)]);
        }
        uninterrupted(|| SockRef::from(self).send_with_flags(data, SEND_FLAGS))
    }

    /// As [`try_write`](Self::try_write), at most [`MAX_SLICES`].
    pub(super) fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(session) = self.session() {
            return session.send(self, data);
        }
        uninterrupted(|| SockRef::from(self).send_vectored_with_flags(data, SEND_FLAGS))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        on_socket!(self, socket => socket.shutdown(how))
    }

    /// Whether a part of a message is encrypted, and not all of that is sent.
    pub(super) fn is_sending(&self) -> bool {
        self.session().is_some_and(Session::is_sending)
    }

    /// How much has arrived that was not read yet.
    pub(super) fn unread(&self) -> u64 {
        match self.session() {
            Some(session) => session.unread(self),
            None => stream::unread(self),
        }
    }

    /// Peeks at the next byte, which stays in the socket. Returns 0 at the end of the stream. Not with a session.
    pub(super) fn peek(&self, flags: i32) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        uninterrupted(|| SockRef::from(self).recv_with_flags(&mut byte, MSG_PEEK | flags))
    }

    /// Closing a socket with unread input sends a reset. So received data is discarded before, up to a
    /// limit. Returns whether the client has ended the stream.
    pub(super) fn discard_input(&self) -> bool {
        const LIMIT: usize = 65_536;
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let mut discarded = 0;
        while discarded < LIMIT {
            match SockRef::from(self).recv_with_flags(&mut scratch, MSG_DONTWAIT) {
                Ok(0) => return true,
                Ok(n) => discarded += n,
                Err(_) => return false,
            }
        }
        false
    }

    /// So that the client does not treat truncated data as complete. A Unix socket has no
    /// resets: the stream ends.
    pub(super) fn reset(&self) {
        if self.is_unix() || sys::reset(self).is_err() {
            let _ = self.shutdown(Shutdown::Both);
        }
    }

    /// For systems where `reset` cannot: without it a client that floods would keep kernel memory for
    /// minutes.
    pub(super) fn reset_on_close(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    pub(super) fn read_timeout(&self) -> io::Result<Option<Duration>> {
        match self.options.read_timeout() {
            Some(timeout) => Ok(timeout),
            None => on_socket!(self, socket => socket.read_timeout()),
        }
    }

    pub(super) fn write_timeout(&self) -> io::Result<Option<Duration>> {
        match self.options.write_timeout() {
            Some(timeout) => Ok(timeout),
            None => on_socket!(self, socket => socket.write_timeout()),
        }
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        on_socket!(self, socket => socket.set_read_timeout(timeout))?;
        self.options.set_read_timeout(timeout);
        Ok(())
    }

    /// A write waits with `poll`, so the socket has the timeout only for a program that has the descriptor.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        check_time("write_timeout", timeout)?;
        if self.options.are_unknown() {
            on_socket!(self, socket => socket.set_write_timeout(timeout))?;
        }
        self.options.set_write_timeout(timeout);
        Ok(())
    }

    /// Whether the program has set the socket non-blocking: then nothing waits.
    pub(super) fn is_nonblocking(&self) -> bool {
        self.are_options_unknown() && stream::is_nonblocking(self)
    }

    /// Whether the program has the descriptor, or has made the socket.
    pub(super) fn are_options_unknown(&self) -> bool {
        self.options.are_unknown()
    }

    pub(super) fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        on_socket!(self, socket => socket.set_nonblocking(on))
    }

    /// The program has the descriptor: from here on it may change the socket's options.
    pub(crate) fn set_exposed(&self) {
        if let Some(Some(timeout)) = self.options.write_timeout() {
            let _ = on_socket!(self, socket => socket.set_write_timeout(Some(timeout)));
        }
        self.options.forget();
    }

    /// `TCP_NODELAY`. A Unix socket has no such delay, and nothing is done.
    pub(super) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.socket {
            Kind::Tcp(socket) => socket.set_nodelay(nodelay),
            Kind::Unix(_) => Ok(()),
        }
    }

    pub(super) fn local_address(&self) -> io::Result<Address> {
        match &self.socket {
            Kind::Tcp(socket) => socket.local_addr().map(Address::from),
            Kind::Unix(socket) => socket.local_addr().map(Address::from),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_socket!(self, socket => socket.as_fd())
    }
}

/// A socket of a listener of the user's own.
impl From<OwnedFd> for Transport {
    fn from(socket: OwnedFd) -> Self {
        // The standard library does so for its own sockets.
        #[cfg(target_vendor = "apple")]
        let _ = SockRef::from(&socket).set_nosigpipe(true);
        let address = SockRef::from(&socket).local_addr();
        if address.is_ok_and(|address| address.is_unix()) {
            Transport::new(Kind::Unix(socket.into()), KnownOptions::unknown())
        } else {
            Transport::new(Kind::Tcp(socket.into()), KnownOptions::unknown())
        }
    }
}

impl From<TcpStream> for Transport {
    fn from(socket: TcpStream) -> Self {
        Transport::new(Kind::Tcp(socket), KnownOptions::default())
    }
}

impl From<UnixStream> for Transport {
    fn from(socket: UnixStream) -> Self {
        Transport::new(Kind::Unix(socket), KnownOptions::default())
    }
}

/// Repeats a call that a signal has interrupted. A socket with a timeout is interrupted even where signal
/// handlers restart system calls. Python repeats calls too, since PEP 475.
#[inline(always)]
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => signals::run_pending(),
            result => return result,
        }
    }
}
