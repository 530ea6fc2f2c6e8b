//! One thread that wakes whoever's time has come: for all deadlines of all servers of a process.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, Weak};
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

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
        let mut alarms = timer.alarms.lock();
        if !alarms.running {
            thread::Builder::new()
                .name("timer".to_owned())
                .spawn(|| timer.run())?;
            alarms.running = true;
        }
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
        timer().alarms.lock().forget(self.0);
    }
}

/// In a process that was forked, which has no thread but one: forgets what the parent had set.
#[cfg(feature = "fork")]
pub(crate) fn start_anew() {
    let mut alarms = timer().alarms.lock();
    alarms.running = false;
    alarms.due.clear();
    alarms.times.clear();
}

#[derive(Default)]
struct Timer {
    alarms: Mutex<Alarms>,
    sooner: Condvar,
}

fn timer() -> &'static Timer {
    static TIMER: OnceLock<Timer> = OnceLock::new();
    TIMER.get_or_init(Timer::default)
}

#[derive(Default)]
struct Alarms {
    /// The number tells apart what is due at the same instant.
    due: BTreeMap<(Instant, u64), Weak<dyn Timed>>,
    times: HashMap<u64, Instant>,
    next: u64,
    running: bool,
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
}

impl Timer {
    fn run(&self) {
        let mut alarms = self.alarms.lock();
        loop {
            match alarms.first() {
                None => self.sooner.wait(&mut alarms),
                Some(first) if first > Instant::now() => {
                    self.sooner.wait_until(&mut alarms, first);
                }
                Some(_) => Self::look_at_first(&mut alarms),
            }
        }
    }

    /// Unlocked while it looks: what it looks at may be dropped there, and takes locks of its own.
    /// And what it looks at may log, through a logger that panics.
    fn look_at_first(alarms: &mut MutexGuard<'_, Alarms>) {
        let Some(((_, number), timed)) = alarms.due.pop_first() else {
            return;
        };
        let next = MutexGuard::unlocked(alarms, || {
            let look = || timed.upgrade()?.look(Instant::now());
            catch_unwind(AssertUnwindSafe(look)).unwrap_or(None)
        });
        match next {
            // Unless it was forgotten in the meantime.
            Some(next) if alarms.times.contains_key(&number) => alarms.set(number, next, timed),
            _ => drop(alarms.times.remove(&number)),
        }
    }
}
