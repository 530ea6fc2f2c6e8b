//! Runs the real code under [shuttle](shuttle), which decides at each lock, wait, send and atomic
//! operation which thread runs next. A thread that no other thread wakes is a deadlock: it fails the
//! test and prints the schedule to replay.
//!
//! A timeout expires at a random moment or never: see [`timeout_expires`]. State that the modelled
//! threads do not share stays real and is never locked at a scheduling point: the rate limit of the
//! log, the Ctrl-C handler. The timer's thread is real too, so a test must not set a timer: servers
//! have `shutdown_timeout(None)`.

mod primitives;

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, Runner};

pub(crate) use self::primitives::{Condvar, Mutex, MutexGuard, Notifier};
use crate::sync::thread;

/// How many schedules each scheduler runs for each test, unless the variable `SCHEDULES` is set.
const SCHEDULES: usize = 500;

/// How many times per schedule the PCT scheduler preempts a thread that could continue.
const PREEMPTIONS: usize = 3;

/// Timeouts from here on never expire.
const NEVER: Duration = Duration::from_secs(60 * 60);

/// Whether the timeout of a thread that has nothing to do expires now. The scheduler may delay the
/// thread before this call for any time, so a random choice covers every moment.
fn timeout_expires(timeout: Duration) -> bool {
    timeout < NEVER && shuttle::rand::thread_rng().gen_bool(0.5)
}

/// Runs `test` under many schedules: half of them choose the next thread at random at each step, half
/// of them by priorities that change a few times.
pub(crate) fn explore(test: fn()) {
    let schedules = std::env::var("SCHEDULES").map_or(SCHEDULES, |number| {
        number.parse().expect("SCHEDULES is a number")
    });
    let random = run(RandomScheduler::new(schedules), test);
    let pct = run(PctScheduler::new(PREEMPTIONS, schedules), test);
    println!(
        "{schedules} random schedules, {random} of them different; {schedules} PCT, {pct} different"
    );
}

fn run(scheduler: impl Scheduler + 'static, test: fn()) -> usize {
    let seen = Rc::default();
    let scheduler = Counted {
        scheduler,
        order: None,
        seen: Rc::clone(&seen),
    };
    let mut config = Config::new();
    // Handlers catch panics and format errors, which needs more than shuttle's 60 KiB.
    config.stack_size = 256 * 1024;
    // Shuttle treats all orderings as `SeqCst` and warns. No weaker ordering here protects data.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(test);
    seen.take().len()
}

/// Counts in how many different orders its schedules ran the threads.
#[derive(Debug)]
struct Counted<S> {
    scheduler: S,
    order: Option<DefaultHasher>,
    seen: Rc<RefCell<HashSet<u64>>>,
}

impl<S: Scheduler> Scheduler for Counted<S> {
    /// Called before each schedule, and once after the last.
    fn new_execution(&mut self) -> Option<Schedule> {
        if let Some(last) = self.order.replace(DefaultHasher::new()) {
            self.seen.borrow_mut().insert(last.finish());
        }
        self.scheduler.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.scheduler.next_task(runnable, current, is_yielding);
        if let Some(order) = &mut self.order {
            next.hash(order);
        }
        next
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}

/// Records which jobs have run, and how many at once. Clones share the same record.
#[derive(Clone, Default)]
pub(crate) struct RunLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    ended: Condvar,
}

#[derive(Default)]
struct Counts {
    running: usize,
    peak: usize,
    ended: Vec<usize>,
}

impl RunLog {
    /// Begins job `number`, lets other threads run, and ends it.
    pub(crate) fn run(&self, number: usize) {
        self.begin();
        thread::yield_now();
        self.end(number);
    }

    pub(crate) fn begin(&self) {
        let mut counts = self.0.counts.lock();
        counts.running += 1;
        counts.peak = counts.peak.max(counts.running);
    }

    pub(crate) fn end(&self, number: usize) {
        let mut counts = self.0.counts.lock();
        counts.running -= 1;
        counts.ended.push(number);
        drop(counts);
        self.0.ended.notify_all();
    }

    /// Blocks until this many jobs have ended.
    pub(crate) fn wait_for(&self, number: usize) {
        let mut counts = self.0.counts.lock();
        while counts.ended.len() < number {
            self.0.ended.wait(&mut counts);
        }
    }

    /// The most jobs that ran at once since the last call.
    pub(crate) fn take_peak(&self) -> usize {
        std::mem::take(&mut self.0.counts.lock().peak)
    }

    /// The numbers of the jobs that have ended, sorted.
    pub(crate) fn ended(&self) -> Vec<usize> {
        let mut ended = self.0.counts.lock().ended.clone();
        ended.sort_unstable();
        ended
    }
}
