//! One thread that wakes whoever's time has come: for all deadlines of all servers of a process.

use std::collections::{BTreeMap, HashMap};
use std::io;
// Not of `parking_lot`, whose locks know of threads that a forked process does not have.
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use crate::own_threads;

/// Something with a time to be looked at.
pub(crate) trait Timed: Send + Sync {
    /// Its time has come, or had when it was set. Returns the next time, if there is one.
    fn look(&self, now: Instant) -> Option<Instant>;
}

/// A time set; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Alarm(u64);

impl Alarm {
    /// Has `timed` looked at when `at` has come, and then whenever it says.
    ///
    /// # Errors
    ///
    /// The timer's thread cannot be started.
    pub(crate) fn set(at: Instant, timed: Weak<dyn Timed>) -> io::Result<Self> {
        let timer = timer();
        let mut alarms = timer.running()?;
        let first = alarms.first().is_none_or(|first| at < first);
        alarms.next += 1;
        let number = alarms.next;
        alarms.set(number, at, timed);
        if first {
            timer.sooner.notify_one();
        }
        Ok(Alarm(number))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        timer().lock().forget(self.0);
    }
}

/// Nothing is set or looked at while it is held.
#[cfg(feature = "fork")]
pub(crate) struct Held(MutexGuard<'static, Alarms>);

#[cfg(feature = "fork")]
pub(crate) fn hold() -> Held {
    Held(timer().lock())
}

#[cfg(feature = "fork")]
impl Held {
    /// In a process that was forked, and has no such thread: what was set before is not its business.
    pub(crate) fn forget(&mut self) {
        self.0.thread = Thread::None;
        self.0.due.clear();
        self.0.times.clear();
    }
}

#[derive(Default)]
struct Timer {
    alarms: Mutex<Alarms>,
    /// The thread runs.
    begun: Condvar,
    /// There is something to look at sooner.
    sooner: Condvar,
}

fn timer() -> &'static Timer {
    static TIMER: OnceLock<Timer> = OnceLock::new();
    TIMER.get_or_init(Timer::default)
}

#[derive(Default)]
pub(crate) struct Alarms {
    /// The number tells apart what is due at the same instant.
    due: BTreeMap<(Instant, u64), Weak<dyn Timed>>,
    times: HashMap<u64, Instant>,
    next: u64,
    thread: Thread,
}

#[derive(Default, PartialEq)]
enum Thread {
    #[default]
    None,
    Starting,
    Running,
}

impl Alarms {
    fn first(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    fn set(&mut self, number: u64, at: Instant, timed: Weak<dyn Timed>) {
        self.due.insert((at, number), timed);
        self.times.insert(number, at);
    }

    fn forget(&mut self, number: u64) {
        if let Some(at) = self.times.remove(&number) {
            self.due.remove(&(at, number));
        }
    }

    fn pop_due(&mut self) -> Option<(u64, Weak<dyn Timed>)> {
        self.first().filter(|first| *first <= Instant::now())?;
        let ((_, number), timed) = self.due.pop_first()?;
        Some((number, timed))
    }
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that the thread runs, and is past what threads begin with: it may rest at any time
    /// from then on.
    fn running(&'static self) -> io::Result<MutexGuard<'static, Alarms>> {
        let mut alarms = self.lock();
        if alarms.thread == Thread::None {
            let thread = thread::Builder::new().name("timer".to_owned());
            thread.spawn(|| self.run())?;
            alarms.thread = Thread::Starting;
        }
        while alarms.thread == Thread::Starting {
            alarms = wait(&self.begun, alarms);
        }
        Ok(alarms)
    }

    fn begin(&self) {
        let mut alarms = self.lock();
        own_threads::started();
        alarms.thread = Thread::Running;
        self.begun.notify_all();
    }

    fn run(&self) {
        self.begin();
        loop {
            let (number, timed) = self.next();
            let look = || timed.upgrade()?.look(Instant::now());
            let next = own_threads::work(look).flatten();
            self.set_again(number, next, timed);
        }
    }

    /// Waits until something is due.
    fn next(&self) -> (u64, Weak<dyn Timed>) {
        let mut alarms = self.lock();
        loop {
            if let Some(due) = alarms.pop_due() {
                return due;
            }
            alarms = match alarms.first() {
                None => wait(&self.sooner, alarms),
                Some(first) => {
                    let pause = first.saturating_duration_since(Instant::now());
                    let woken = self.sooner.wait_timeout(alarms, pause);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn set_again(&self, number: u64, next: Option<Instant>, timed: Weak<dyn Timed>) {
        let mut alarms = self.lock();
        match next {
            // Unless it was forgotten in the meantime.
            Some(next) if alarms.times.contains_key(&number) => alarms.set(number, next, timed),
            _ => drop(alarms.times.remove(&number)),
        }
    }
}

fn wait<'a>(condition: &Condvar, alarms: MutexGuard<'a, Alarms>) -> MutexGuard<'a, Alarms> {
    let woken = condition.wait(alarms);
    woken.unwrap_or_else(PoisonError::into_inner)
}
