//! One thread for all timers of all servers of a process: deadlines, idle timeouts, shutdown timeouts.

use std::collections::BTreeMap;
use std::io;
// `std` locks: those of `parking_lot` keep lists of waiting threads, which a forked process does not
// have.
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use super::fork_lock;

/// What a timer calls.
pub(crate) trait OnTimer: Send + Sync {
    /// The time has come. Returns when to call again, if ever.
    fn on_timer(&self, now: Instant) -> Option<Instant>;
}

/// A timer that is set; cancelled when dropped.
#[derive(Debug)]
pub(crate) struct Timer {
    id: u64,
    /// When it is called first.
    first_at: Instant,
}

impl Timer {
    /// Calls `target` at `at`, and then at each time that it returns.
    ///
    /// # Errors
    ///
    /// The timer thread cannot be started.
    pub(crate) fn set(at: Instant, target: Weak<dyn OnTimer>) -> io::Result<Self> {
        let thread = timer_thread();
        let mut timers = thread.running()?;
        let is_too_late = timers.wakes_at.is_none_or(|wakes_at| at < wakes_at);
        timers.next_id += 1;
        let id = timers.next_id;
        timers.due.insert((at, id), target);
        if is_too_late {
            thread.earlier.notify_one();
        }
        Ok(Timer { id, first_at: at })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        lock().cancel(self);
    }
}

pub(super) fn lock() -> MutexGuard<'static, Timers> {
    timer_thread().lock()
}

fn timer_thread() -> &'static TimerThread {
    static THREAD: OnceLock<TimerThread> = OnceLock::new();
    THREAD.get_or_init(TimerThread::default)
}

#[derive(Default)]
struct TimerThread {
    timers: Mutex<Timers>,
    started: Condvar,
    /// A timer was set that is due before the thread wakes up.
    earlier: Condvar,
}

#[derive(Default)]
pub(super) struct Timers {
    /// By time; the id separates timers of the same instant.
    due: BTreeMap<(Instant, u64), Weak<dyn OnTimer>>,
    /// When timers that have been called are due again, by id. Most are cancelled before their first call.
    again: BTreeMap<u64, Instant>,
    /// The id of the one that is being called, unless it was cancelled meanwhile.
    called: Option<u64>,
    next_id: u64,
    /// Until when the thread waits; `None` is no limit. It may wake up for a timer that was cancelled: most
    /// timers are, and each notification would cost more than that.
    wakes_at: Option<Instant>,
    thread: ThreadState,
}

#[derive(Default, PartialEq)]
pub(super) enum ThreadState {
    #[default]
    None,
    Starting,
    Running,
}

impl Timers {
    fn first(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    fn cancel(&mut self, timer: &Timer) {
        let at = self.again.remove(&timer.id).unwrap_or(timer.first_at);
        self.due.remove(&(at, timer.id));
        self.called = self.called.filter(|id| *id != timer.id);
    }

    fn pop_due(&mut self) -> Option<Weak<dyn OnTimer>> {
        self.first().filter(|first| *first <= Instant::now())?;
        let ((_, id), target) = self.due.pop_first()?;
        self.again.remove(&id);
        self.called = Some(id);
        Some(target)
    }

    /// In a forked process: it has no timer thread, and none of the timers is its own. The ids go on, because timers
    /// of the parent are dropped here too, and must not cancel new ones.
    #[cfg(feature = "fork")]
    pub(super) fn reset(&mut self) {
        *self = Timers {
            next_id: self.next_id,
            ..Timers::default()
        };
    }
}

impl TimerThread {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread if there is none, and waits until it runs: from then on it holds the fork lock
    /// whenever it works.
    fn running(&'static self) -> io::Result<MutexGuard<'static, Timers>> {
        let mut timers = self.lock();
        if timers.thread == ThreadState::None {
            let thread = thread::Builder::new().name("timer".to_owned());
            thread.spawn(|| self.run())?;
            timers.thread = ThreadState::Starting;
        }
        while timers.thread == ThreadState::Starting {
            timers = wait(&self.started, timers);
        }
        Ok(timers)
    }

    fn run(&self) {
        let mut timers = self.lock();
        fork_lock::thread_started();
        timers.thread = ThreadState::Running;
        self.started.notify_all();
        drop(timers);
        loop {
            let target = self.next();
            let call = || target.upgrade()?.on_timer(Instant::now());
            let next = fork_lock::run(call).flatten();
            self.set_again(next, target);
        }
    }

    /// Waits until a timer is due.
    fn next(&self) -> Weak<dyn OnTimer> {
        let mut timers = self.lock();
        loop {
            if let Some(due) = timers.pop_due() {
                return due;
            }
            timers.wakes_at = timers.first();
            timers = match timers.wakes_at {
                None => wait(&self.earlier, timers),
                Some(first) => {
                    let pause = first.saturating_duration_since(Instant::now());
                    let woken = self.earlier.wait_timeout(timers, pause);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Sets the timer that was called, unless it was cancelled meanwhile.
    fn set_again(&self, next: Option<Instant>, target: Weak<dyn OnTimer>) {
        let mut timers = self.lock();
        let called = timers.called.take();
        if let Some((id, next)) = called.zip(next) {
            timers.due.insert((next, id), target);
            timers.again.insert(id, next);
        }
    }
}

fn wait<'a>(condition: &Condvar, timers: MutexGuard<'a, Timers>) -> MutexGuard<'a, Timers> {
    let woken = condition.wait(timers);
    woken.unwrap_or_else(PoisonError::into_inner)
}
