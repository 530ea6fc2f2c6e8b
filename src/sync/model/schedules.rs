use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, Runner};

/// How often each scheduler runs each test, unless the variable `SCHEDULES` says otherwise.
const SCHEDULES: usize = 500;

/// How many times, at places it chooses, the PCT scheduler takes the turn from a thread that could
/// go on.
const PREEMPTIONS: usize = 3;

/// Runs `test` under many schedules, half of them with a choice at random at each step, half with
/// priorities that change now and then.
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
    // Handlers catch panics and format errors: more than shuttle's 60 KiB.
    config.stack_size = 256 * 1024;
    // There are weaker orderings than `SeqCst`; none of them guards anything.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(test);
    seen.take().len()
}

/// Knows in how many different orders its schedules ran the threads.
#[derive(Debug)]
struct Counted<S> {
    scheduler: S,
    order: Option<DefaultHasher>,
    seen: Rc<RefCell<HashSet<u64>>>,
}

impl<S: Scheduler> Scheduler for Counted<S> {
    /// Asked before each, and once more after the last.
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
