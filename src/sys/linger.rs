//! Lingering close: connections that are closed, but whose clients may still send.
//!
//! If a client sends to a socket that is closed, its system gets a reset, and that can destroy the reply
//! on its way (RFC 1122, 4.2.2.13; RFC 9112, 9.6). So the socket stays open for a while, and what arrives
//! is discarded.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use polling::Event;
use socket2::SockRef;

use super::poll_thread::{self, Next, TICK, Watched};
use super::stream::{unacknowledged, wait};
use super::{MSG_DONTWAIT, signals};
use crate::log_line::log_line;
use crate::options::LingerOptions;

/// See [`spare_clients`](Lingering::spare_clients).
const SPARED: Duration = Duration::from_secs(1);

/// The lingering connections of one server.
#[derive(Debug)]
pub(crate) struct Lingering {
    options: LingerOptions,
    count: AtomicUsize,
    /// The server shuts down.
    ending: AtomicBool,
    /// Its clients go on elsewhere: see [`spare_clients`](Lingering::spare_clients).
    spares_clients: AtomicBool,
}

/// What becomes of the input of a lingering connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// It is read and discarded, until the client ends the stream.
    Discard,
    /// It is not read, and the connection is closed when the client has received everything.
    Leave,
}

impl Lingering {
    pub(crate) fn new(options: LingerOptions) -> Arc<Self> {
        Arc::new(Lingering {
            options,
            count: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            spares_clients: AtomicBool::new(false),
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Keeps a socket open until its client has ended the stream or received everything, or a limit is
    /// reached. The caller closes its own descriptor. Does nothing at the limit of lingering connections,
    /// and if there is no descriptor for one more.
    pub(crate) fn add(self: &Arc<Self>, socket: &impl AsFd, input: Input) {
        if poll_thread::is_missing() {
            return self.linger_here(socket, input);
        }
        let enter = |count| (count < self.options.max).then_some(count + 1);
        let entered = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter);
        if entered.is_err() {
            return;
        }
        // Counts from here on until it is dropped.
        let entry = |socket| Socket {
            limits: SocketLimits::new(&self.options, input),
            socket,
            server: Arc::clone(self),
        };
        let added = match socket.as_fd().try_clone_to_owned() {
            Ok(socket) => poll_thread::add(Box::new(entry(socket)), input == Input::Discard),
            Err(error) => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        };
        if let Err(error) = added {
            log_line!(target: "socketserver::server", Debug, "a connection cannot linger: {error}");
        }
    }

    /// In a forked process there is no thread for it, and the process still counts as a child. So it ends
    /// early: when the client has received everything, and sends nothing for one tick or the server shuts
    /// down.
    fn linger_here(&self, socket: &impl AsFd, input: Input) {
        const LONGEST: Duration = Duration::from_secs(2);
        let mut limits = SocketLimits::new(&self.options, input);
        let longest = Instant::now() + LONGEST;
        let spared = Instant::now() + SPARED;
        while self.options.max > 0 && !limits.are_over(socket) && Instant::now() < longest {
            let tick = Instant::now() + limits.tick();
            let has_arrived =
                limits.bytes > 0 && wait(socket, libc::POLLIN, Some(tick)).unwrap_or(false);
            if limits.bytes == 0 {
                thread::sleep(limits.tick());
                signals::run_pending();
            }
            let is_spared = self.spares_clients.load(Ordering::SeqCst) && Instant::now() < spared;
            let is_quiet = !is_spared && (!has_arrived || self.ending.load(Ordering::SeqCst));
            let has_ended = has_arrived && discard(socket, &mut limits);
            if has_ended || (is_quiet && unacknowledged(socket) == 0) {
                return;
            }
        }
    }

    /// The server shuts down.
    pub(crate) fn shutdown(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// At its end the server waits a second for clients that have not ended their streams. Otherwise one that sends its
    /// next message just then is reset, and does not see that the stream has ended in order.
    pub(crate) fn spare_clients(&self) {
        self.spares_clients.store(true, Ordering::SeqCst);
    }

    /// Closes all of them: each as soon as its client has received everything, the others when
    /// `lingering_timeout` is over or `give_up_at` has come.
    pub(crate) fn finish(self: &Arc<Self>, give_up_at: Option<Instant>) {
        const LONGEST_PAUSE: Duration = Duration::from_millis(20);
        let spares_clients = self.spares_clients.load(Ordering::SeqCst);
        let timeout = match spares_clients {
            true => self.options.timeout.min(SPARED),
            false => self.options.timeout,
        };
        let own = Instant::now().checked_add(timeout);
        let until = give_up_at.into_iter().chain(own).min();
        let mut pause = Duration::from_millis(1);
        while self.count() > 0 {
            let is_over = until.is_some_and(|until| until <= Instant::now());
            self.close(|socket| is_over || (!spares_clients && unacknowledged(socket) == 0));
            if is_over || self.count() == 0 {
                return;
            }
            thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Closes all of them now.
    pub(crate) fn close_all(self: &Arc<Self>) {
        if self.count() > 0 {
            self.close(|_| true);
        }
    }

    fn close(self: &Arc<Self>, may_close: impl Fn(&BorrowedFd<'_>) -> bool) {
        poll_thread::lock().remove_if(|watched| {
            let server = watched.lingers_for();
            let socket = watched.as_fd();
            let is_over =
                server.is_some_and(|server| Arc::ptr_eq(server, self)) && may_close(&socket);
            if is_over {
                end_unix_input(&socket);
            }
            is_over
        });
    }
}

/// How often it is checked whether a client has received everything. No event tells it.
const SHORT_TICK: Duration = Duration::from_millis(10);

/// What is discarded of one socket before the next one has its turn.
const TURN: usize = 64 * 1024;

/// One lingering connection. Its drop closes it.
struct Socket {
    socket: OwnedFd,
    limits: SocketLimits,
    server: Arc<Lingering>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Watched for Socket {
    fn event(&self, key: usize) -> Event {
        Event::readable(key)
    }

    fn on_ready(&mut self) -> Next {
        let has_ended = discard(&self.socket, &mut self.limits);
        if has_ended || self.limits.are_over(&self.socket) {
            Next::Remove
        } else if self.limits.bytes == 0 {
            Next::Tick
        } else {
            Next::Poll
        }
    }

    fn on_tick(&mut self, _: Instant) -> Next {
        if self.limits.are_over(&self.socket) {
            Next::Remove
        } else {
            Next::Tick
        }
    }

    fn tick(&self) -> Duration {
        self.limits.tick()
    }

    fn lingers_for(&self) -> Option<&Arc<Lingering>> {
        Some(&self.server)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one connection may still use.
struct SocketLimits {
    timeout: Duration,
    /// When it has sent nothing for too long.
    quiet_until: Option<Instant>,
    until: Option<Instant>,
    bytes: u64,
}

impl SocketLimits {
    fn new(options: &LingerOptions, input: Input) -> Self {
        let now = Instant::now();
        SocketLimits {
            timeout: options.timeout,
            quiet_until: now.checked_add(options.timeout),
            until: now.checked_add(options.time),
            bytes: if input == Input::Discard {
                options.bytes
            } else {
                0
            },
        }
    }

    fn tick(&self) -> Duration {
        if self.bytes > 0 { TICK } else { SHORT_TICK }
    }

    /// At the limit of bytes nothing more is read, so that the client's system holds back what follows.
    /// But the connection stays open until the client has received everything.
    fn are_over(&self, socket: &impl AsFd) -> bool {
        let now = Instant::now();
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        is_over(self.until)
            || is_over(self.quiet_until)
            || (self.bytes == 0 && unacknowledged(socket) == 0)
    }
}

/// A Unix socket that is closed with unread input resets the connection, also for a client that has received
/// everything but the end of the stream. After this nothing more arrives.
fn end_unix_input(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let is_unix = socket.local_addr().is_ok_and(|address| address.is_unix());
    if is_unix && socket.shutdown(Shutdown::Read).is_ok() {
        let mut scratch = [MaybeUninit::uninit(); 8192];
        let mut receive = || socket.recv_with_flags(&mut scratch, MSG_DONTWAIT);
        while receive().is_ok_and(|n| n > 0) {}
    }
}

/// Discards what has arrived, up to one turn. Returns whether the connection is at its end.
fn discard(socket: &impl AsFd, limits: &mut SocketLimits) -> bool {
    let mut scratch = [MaybeUninit::uninit(); 8192];
    let mut left = TURN;
    while left > 0 && limits.bytes > 0 {
        match SockRef::from(socket).recv_with_flags(&mut scratch, MSG_DONTWAIT) {
            Ok(n) if n > 0 => {
                left = left.saturating_sub(n);
                limits.bytes = limits.bytes.saturating_sub(n as u64);
                limits.quiet_until = Instant::now().checked_add(limits.timeout);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            _ => return true,
        }
    }
    false
}
