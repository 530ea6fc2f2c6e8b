//! One thread that waits for sockets of all servers of a process: lingering connections and outboxes.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
// `std` locks, as for the timers.
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use polling::Event;
use polling::{Events, PollMode, Poller};

use super::fork_lock;
use super::linger::Lingering;
use super::timer::ThreadState;

/// A socket that the thread watches. The thread holds its lock during these calls, so they do not block,
/// log or call other code of this module.
pub(crate) trait Watched: AsFd + Send {
    /// What the thread waits for.
    fn event(&self, key: usize) -> Event;

    /// The socket is ready.
    fn on_ready(&mut self) -> Next;

    /// Called once per [`tick`](Self::tick). After `Next::Tick` it is polled or not, as before.
    fn on_tick(&mut self, now: Instant) -> Next;

    /// Until the next call of `on_tick`.
    fn tick(&self) -> Duration;

    /// The server whose lingering connections it belongs to, if it is one.
    fn lingers_for(&self) -> Option<&Arc<Lingering>> {
        None
    }
}

/// What becomes of a socket after it was ready.
pub(crate) enum Next {
    /// The thread goes on waiting for it.
    Poll,
    /// It is not waited for, but `on_tick` is called.
    Tick,
    Remove,
}

/// How often limits of time are checked.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Whether this is a forked process. It does not have the thread.
static IS_MISSING: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_missing() -> bool {
    IS_MISSING.load(Ordering::Relaxed)
}

struct PollThread {
    state: Mutex<State>,
    started: Condvar,
}

/// The thread, and what it watches, by descriptor.
#[derive(Default)]
pub(crate) struct State {
    thread: ThreadState,
    poller: Option<Arc<Poller>>,
    entries: HashMap<usize, Entry>,
    /// When the next call of `on_tick` is due.
    next_tick: Option<Instant>,
}

struct Entry {
    watched: Box<dyn Watched>,
    is_polled: bool,
    next_tick: Instant,
}

static THREAD: LazyLock<PollThread> = LazyLock::new(|| PollThread {
    state: Mutex::default(),
    started: Condvar::new(),
});

pub(crate) fn lock() -> MutexGuard<'static, State> {
    let locked = THREAD.state.lock();
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// Watches a socket. With `poll` false only `on_tick` is called. If its descriptor is watched already,
/// that entry is kept, and polled again.
pub(crate) fn add(watched: Box<dyn Watched>, poll: bool) -> io::Result<()> {
    let mut state = THREAD.running()?;
    let poller = Arc::clone(state.poller.as_ref().expect("the thread has a poller"));
    let key = key(&watched);
    let next_tick = state.tick_within(watched.tick(), &poller);
    let entry = state.entries.entry(key).or_insert(Entry {
        watched,
        is_polled: false,
        next_tick,
    });
    let added = if poll {
        entry.poll(key, &poller)
    } else {
        Ok(())
    };
    if added.is_err() {
        state.entries.remove(&key);
    }
    added
}

/// Stops watching a socket that is about to be closed.
pub(crate) fn remove(socket: &impl AsFd) {
    lock().remove(key(socket));
}

fn key(socket: &impl AsFd) -> usize {
    let descriptor = socket.as_fd().as_raw_fd();
    descriptor.try_into().expect("a descriptor is not negative")
}

impl PollThread {
    /// Starts the thread if there is none, and waits until it runs: from then on it holds the fork lock
    /// whenever it works.
    fn running(&'static self) -> io::Result<MutexGuard<'static, State>> {
        let mut state = lock();
        if state.thread == ThreadState::None {
            let poller = Arc::new(Poller::new()?);
            state.poller = Some(Arc::clone(&poller));
            let thread = thread::Builder::new().name("poll".to_owned());
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
            let next_tick = fork_lock::run(|| on_events(&events));
            // After a panic the ticks go on.
            let next_tick = next_tick.unwrap_or_else(|| Some(Instant::now() + TICK));
            let pause = next_tick.map(|at| at.saturating_duration_since(Instant::now()));
            events.clear();
            if poller.wait(&mut events, pause).is_err() {
                // If the error stays, the thread does not take a whole processor.
                thread::sleep(TICK);
            }
        }
    }
}

/// Returns when to call it again, if any sockets are left. The lock is released after each socket, so that
/// other threads do not wait long for it.
fn on_events(events: &Events) -> Option<Instant> {
    for event in events.iter() {
        lock().on_ready(event.key);
    }
    let mut state = lock();
    let now = Instant::now();
    if state.next_tick.is_some_and(|at| at <= now) {
        state.on_tick(now);
    }
    state.next_tick
}

impl State {
    fn on_ready(&mut self, key: usize) {
        let (Some(entry), Some(poller)) = (self.entries.get_mut(&key), self.poller.clone()) else {
            return;
        };
        match entry.watched.on_ready() {
            Next::Poll => {}
            Next::Tick => {
                entry.stop_polling(&poller);
                let tick = entry.watched.tick();
                entry.next_tick = Instant::now() + tick;
                self.tick_within(tick, &poller);
            }
            Next::Remove => self.remove(key),
        }
    }

    fn on_tick(&mut self, now: Instant) {
        let Some(poller) = self.poller.clone() else {
            return;
        };
        let mut over = Vec::new();
        let due = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.next_tick <= now);
        for (key, entry) in due {
            match entry.watched.on_tick(now) {
                Next::Tick => {}
                // After an error it is tried again at the next tick.
                Next::Poll => drop(entry.poll(*key, &poller)),
                Next::Remove => over.push(*key),
            }
            entry.next_tick = now + entry.watched.tick();
        }
        over.into_iter().for_each(|key| self.remove(key));
        self.next_tick = self.entries.values().map(|entry| entry.next_tick).min();
    }

    /// Returns when that is.
    fn tick_within(&mut self, tick: Duration, poller: &Poller) -> Instant {
        let at = Instant::now() + tick;
        if self.next_tick.is_none_or(|next| at < next) {
            self.next_tick = Some(at);
            // Fails only if it is notified already.
            let _ = poller.notify();
        }
        at
    }

    pub(super) fn remove_if(&mut self, mut is_over: impl FnMut(&mut dyn Watched) -> bool) {
        let entries = self.entries.iter_mut();
        let over = entries.filter_map(|(key, entry)| is_over(&mut *entry.watched).then_some(*key));
        let over: Vec<_> = over.collect();
        over.into_iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: usize) {
        if let (Some(mut entry), Some(poller)) = (self.entries.remove(&key), &self.poller) {
            // Closing does not do it while a forked process has the same socket.
            entry.stop_polling(poller);
        }
    }

    /// In a forked process: it has no such thread, and none of the sockets is its own.
    #[cfg(feature = "fork")]
    pub(super) fn reset(&mut self) {
        IS_MISSING.store(true, Ordering::Relaxed);
        self.entries.clear();
        self.thread = ThreadState::None;
        // Its drop would change the poller of the parent, which is the same.
        std::mem::forget(self.poller.take());
    }
}

impl Entry {
    fn poll(&mut self, key: usize, poller: &Poller) -> io::Result<()> {
        if !self.is_polled {
            let event = self.watched.event(key);
            // SAFETY: `State::remove` deletes the descriptor from the poller before it is closed.
            unsafe { poller.add_with_mode(&self.watched.as_fd(), event, PollMode::Level)? };
            self.is_polled = true;
        }
        Ok(())
    }

    fn stop_polling(&mut self, poller: &Poller) {
        if self.is_polled {
            self.is_polled = false;
            // Cannot fail: it was added before.
            let _ = poller.delete(self.watched.as_fd());
        }
    }
}
