use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::waiter::Waiter;

/// How many threads there may be.
const MAX_THREADS: usize = 512;

/// How long a thread waits for its next call before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The threads of [`blocking`](super::blocking), which all servers of the process share.
static POOL: BlockingPool = BlockingPool {
    state: Mutex::new(State {
        calls: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    has_call: Condvar::new(),
};

struct BlockingPool {
    state: Mutex<State>,
    has_call: Condvar,
}

struct State {
    calls: VecDeque<Call>,
    threads: usize,
    /// Those that wait for a call.
    idle: usize,
}

/// It does not panic.
type Call = Box<dyn FnOnce() + Send>;

/// Calls `run` on a helper thread, and suspends the calling task meanwhile. Calls it here if there is no thread, and
/// none can be started.
#[allow(unsafe_code)]
pub(super) fn call<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let caller = Waiter::current();
    let slot = Mutex::new((Some(run), None));
    let finish = || {
        let run = slot.lock().0.take();
        let result = run.map(|run| panic::catch_unwind(AssertUnwindSafe(run)));
        slot.lock().1 = result;
        // The task may be resumed at once, and its stack with this closure may be gone.
        Arc::clone(&caller)
    };
    let call: Box<dyn FnOnce() + Send + '_> = Box::new(|| finish().wake());
    // SAFETY: only the lifetime changes. This function returns or unwinds after `wake`, the last thing that the call
    // does, or after it has taken the call back.
    let call: Call = unsafe { std::mem::transmute(call) };
    match POOL.send(call) {
        Ok(()) => drop(caller.wait(None)),
        Err(call) => call(),
    }
    let result = slot.into_inner().1.expect("the call has ended");
    result.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

impl BlockingPool {
    /// Fails if there is no thread, and none can be started.
    fn send(&'static self, call: Call) -> Result<(), Call> {
        let mut state = self.state.lock();
        if state.idle <= state.calls.len() && state.threads < MAX_THREADS {
            let thread = thread::Builder::new().name("blocking".to_owned());
            match thread.spawn(|| self.run()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => return Err(call),
                // It waits for one of the others.
                Err(_) => {}
            }
        }
        state.calls.push_back(call);
        self.has_call.notify_one();
        Ok(())
    }

    /// What each thread does.
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(call) = state.calls.pop_front() {
                drop(state);
                call();
                state = self.state.lock();
            }
            state.idle += 1;
            let until = Instant::now() + KEEP_ALIVE;
            while state.calls.is_empty() {
                if self.has_call.wait_until(&mut state, until).timed_out() {
                    break;
                }
            }
            state.idle -= 1;
            if state.calls.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}
