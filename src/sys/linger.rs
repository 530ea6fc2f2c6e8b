//! Lingering close: one thread for all connections of all servers of a process that are closed, but whose
//! clients may still send.
//!
//! If a client sends to a socket that is closed, its system gets a reset, and that can destroy the reply
//! on its way (RFC 1122, 4.2.2.13; RFC 9112, 9.6). So the socket stays open for a while, and what arrives
//! is discarded.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
// `std` locks, as for the timers.
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use polling::{Event, Events, PollMode, Poller};
use socket2::SockRef;

use super::stream::{unacknowledged, wait};
use super::timer::ThreadState;
use super::{MSG_DONTWAIT, fork_lock, signals};
use crate::log_line::log_line;
use crate::options::LingerOptions;

/// The lingering connections of one server.
#[derive(Debug)]
pub(crate) struct Lingering {
    options: LingerOptions,
    count: AtomicUsize,
    /// The server shuts down.
    ending: AtomicBool,
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
        if IN_CHILD.load(Ordering::Relaxed) {
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
            Ok(socket) => THREAD.add(entry(socket)),
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
        while self.options.max > 0 && !limits.are_over(socket) && Instant::now() < longest {
            let tick = Instant::now() + limits.tick();
            let has_arrived =
                limits.bytes > 0 && wait(socket, libc::POLLIN, Some(tick)).unwrap_or(false);
            if limits.bytes == 0 {
                thread::sleep(limits.tick());
                signals::run_pending();
            }
            let is_quiet = !has_arrived || self.ending.load(Ordering::SeqCst);
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

    /// Closes all of them: each as soon as its client has received everything, the others when
    /// `lingering_timeout` is over or `give_up_at` has come.
    pub(crate) fn finish(self: &Arc<Self>, give_up_at: Option<Instant>) {
        const LONGEST_PAUSE: Duration = Duration::from_millis(20);
        let own = Instant::now().checked_add(self.options.timeout);
        let until = give_up_at.into_iter().chain(own).min();
        let mut pause = Duration::from_millis(1);
        while self.count() > 0 {
            let is_over = until.is_some_and(|until| until <= Instant::now());
            lock().close(|socket| {
                Arc::ptr_eq(&socket.server, self) && (is_over || unacknowledged(socket) == 0)
            });
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
            lock().close(|socket| Arc::ptr_eq(&socket.server, self));
        }
    }
}

/// How often limits of time are checked.
const TICK: Duration = Duration::from_millis(250);

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

/// Whether this is a forked process.
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// The thread, and the connections that it keeps open.
struct LingerThread {
    state: Mutex<State>,
    started: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    thread: ThreadState,
    poller: Option<Arc<Poller>>,
    sockets: HashMap<usize, Socket>,
    next_key: usize,
    /// When the limits are checked next.
    next_tick: Option<Instant>,
}

static THREAD: LazyLock<LingerThread> = LazyLock::new(|| LingerThread {
    state: Mutex::default(),
    started: Condvar::new(),
});

pub(super) fn lock() -> MutexGuard<'static, State> {
    let locked = THREAD.state.lock();
    locked.unwrap_or_else(PoisonError::into_inner)
}

impl LingerThread {
    fn add(&'static self, socket: Socket) -> io::Result<()> {
        let mut state = self.running()?;
        let key = state.next_key;
        // The largest key is the poller's own.
        state.next_key = (key + 1) % (usize::MAX / 2);
        let poller = Arc::clone(state.poller.as_ref().expect("the thread has a poller"));
        if socket.limits.bytes > 0 {
            // SAFETY: `State::remove` deletes the descriptor from the poller before it is closed.
            unsafe { poller.add_with_mode(&socket.socket, Event::readable(key), PollMode::Level)? };
        }
        let at = Instant::now() + socket.limits.tick();
        if state.next_tick.is_none_or(|next| at < next) {
            state.next_tick = Some(at);
            // Fails only if it is notified already.
            let _ = poller.notify();
        }
        state.sockets.insert(key, socket);
        Ok(())
    }

    /// Starts the thread if there is none, and waits until it runs: from then on it holds the fork lock
    /// whenever it works.
    fn running(&'static self) -> io::Result<MutexGuard<'static, State>> {
        let mut state = lock();
        if state.thread == ThreadState::None {
            let poller = Arc::new(Poller::new()?);
            state.poller = Some(Arc::clone(&poller));
            let thread = thread::Builder::new().name("linger".to_owned());
            thread.spawn(move || self.run(&poller))?;
            state.thread = ThreadState::Starting;
        }
        while state.thread == ThreadState::Starting {
            let woken = self.started.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state)
    }

    fn run(&self, poller: &Poller) {
        let mut events = Events::new();
        let mut state = lock();
        fork_lock::thread_started();
        state.thread = ThreadState::Running;
        self.started.notify_all();
        drop(state);
        loop {
            let next_tick = fork_lock::run(|| lock().on_events(&events)).flatten();
            let pause = next_tick.map(|at| at.saturating_duration_since(Instant::now()));
            events.clear();
            if poller.wait(&mut events, pause).is_err() {
                // If the error stays, the thread does not take a whole processor.
                thread::sleep(TICK);
            }
        }
    }
}

impl State {
    /// Serves the sockets that are readable, and closes those whose time is over. Returns when to do so
    /// again, if any are left.
    fn on_events(&mut self, events: &Events) -> Option<Instant> {
        for event in events.iter() {
            self.on_readable(event.key);
        }
        let now = Instant::now();
        if self.next_tick.is_some_and(|at| at <= now) {
            self.close(|socket| socket.limits.are_over(&socket.socket));
            let ticks = self.sockets.values().map(|socket| socket.limits.tick());
            self.next_tick = ticks.min().map(|tick| now + tick);
        }
        self.next_tick
    }

    fn on_readable(&mut self, key: usize) {
        if let Some(socket) = self.sockets.get_mut(&key) {
            let has_ended = discard(&socket.socket, &mut socket.limits);
            if has_ended || socket.limits.are_over(&socket.socket) {
                self.remove(key);
            } else if socket.limits.bytes == 0 {
                self.stop_reading(key);
                self.next_tick = Some(Instant::now() + SHORT_TICK);
            }
        }
    }

    fn close(&mut self, mut may_close: impl FnMut(&Socket) -> bool) {
        let due = self.sockets.iter().filter(|(_, socket)| may_close(socket));
        let due: Vec<_> = due.map(|(key, _)| *key).collect();
        due.into_iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: usize) {
        // Closing does not do it while a forked process has the same socket.
        self.stop_reading(key);
        self.sockets.remove(&key);
    }

    fn stop_reading(&self, key: usize) {
        if let (Some(socket), Some(poller)) = (self.sockets.get(&key), &self.poller) {
            // Fails if it was done before.
            let _ = poller.delete(&socket.socket);
        }
    }

    /// In a forked process: it has no such thread, and none of the connections is its own.
    #[cfg(feature = "fork")]
    pub(super) fn reset(&mut self) {
        IN_CHILD.store(true, Ordering::Relaxed);
        self.sockets.clear();
        self.thread = ThreadState::None;
        // Its drop would change the poller of the parent, which is the same.
        std::mem::forget(self.poller.take());
    }
}
