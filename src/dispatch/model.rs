//! The pool under the model: see [`crate::sync::model`]. That all threads have ended need not be
//! asked: a schedule that leaves one behind fails.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::{Dispatch, Job, Task, ThreadPool, Waker};
use crate::handle::Terms;
use crate::limits::Limits;
use crate::options::StreamOptions;
use crate::sync::model::{Tally, explore};
use crate::sync::thread;
use crate::sys::Events;
use crate::{Address, ServerHandle};

const IMPATIENT: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::MAX;

struct Numbered {
    number: usize,
    tally: Tally,
}

impl Task for Numbered {
    fn run(self: Box<Self>) {
        self.tally.run(self.number);
    }

    fn refuse(self: Box<Self>, error: io::Error) {
        panic!("job {} was refused: {error}", self.number);
    }
}

fn job(number: usize, tally: &Tally) -> Job {
    let tally = tally.clone();
    Job::new(Numbered { number, tally })
}

fn pool(threads: usize, thread_keep_alive: Duration) -> ThreadPool {
    ThreadPool::new()
        .max_threads(threads)
        .thread_keep_alive(thread_keep_alive)
}

/// A serving thread without a listener: it asks for room, and sleeps until it is woken.
struct Asking {
    server: ServerHandle,
    waker: Waker,
    events: Events,
}

impl Asking {
    fn new(pool: &ThreadPool) -> Self {
        let terms = Terms {
            streams: StreamOptions::default(),
            limits: Limits::default(),
            shutdown_timeout: None,
            threads: pool.thread_gauge(),
            children: None,
        };
        let server = ServerHandle::new(Address::Unnamed, terms).expect("no descriptor is needed");
        Asking {
            waker: Waker::new(&server),
            server,
            events: Events::with_capacity(NonZeroUsize::MIN),
        }
    }

    fn dispatch(&mut self, pool: &ThreadPool, job: Job) {
        while !pool.has_capacity(&self.waker) {
            let slept = self.server.bell().sleep(None, None, &mut self.events);
            slept.expect("the model's poller does not fail");
        }
        pool.dispatch(job);
    }
}

#[test]
fn each_job_runs_once_and_within_the_bound() {
    explore(|| {
        let (pool, tally) = (pool(2, IMPATIENT), Tally::default());
        (0..4).for_each(|number| pool.dispatch(job(number, &tally)));
        tally.wait_for(4);
        pool.dispatch(job(4, &tally));
        pool.join();
        assert_eq!(tally.ended(), [0, 1, 2, 3, 4]);
        assert!(tally.take_peak() <= 2);
        assert_eq!(pool.threads(), 0);
    });
}

#[test]
fn a_job_handed_to_an_idle_worker_is_run() {
    explore(|| {
        let (pool, tally) = (pool(1, IMPATIENT), Tally::default());
        for number in 0..4 {
            pool.dispatch(job(number, &tally));
            tally.wait_for(number + 1);
        }
        drop(pool);
        assert_eq!(tally.ended(), [0, 1, 2, 3]);
    });
}

#[test]
fn closing_runs_what_is_queued() {
    explore(|| {
        let (pool, tally) = (pool(2, PATIENT), Tally::default());
        (0..5).for_each(|number| pool.dispatch(job(number, &tally)));
        pool.join();
        assert_eq!(tally.ended(), [0, 1, 2, 3, 4]);
        assert!(tally.take_peak() <= 2);
    });
}

#[test]
fn dropping_runs_what_is_queued() {
    explore(|| {
        let (pool, tally) = (pool(1, PATIENT), Tally::default());
        (0..3).for_each(|number| pool.dispatch(job(number, &tally)));
        drop(pool);
        tally.wait_for(3);
        assert_eq!(tally.ended(), [0, 1, 2]);
    });
}

#[test]
fn whoever_saw_no_room_is_woken() {
    explore(|| {
        let (pool, tally) = (Arc::new(pool(1, IMPATIENT)), Tally::default());
        let servers = [0, 1].map(|server| {
            let (pool, tally) = (Arc::clone(&pool), tally.clone());
            thread::spawn(move || {
                let mut asking = Asking::new(&pool);
                for number in [server, server + 2, server + 4] {
                    asking.dispatch(&pool, job(number, &tally));
                }
            })
        });
        for server in servers {
            server.join().expect("it does not panic");
        }
        pool.join();
        assert_eq!(tally.ended(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(tally.take_peak(), 1);
    });
}

#[test]
fn the_bound_moves_meanwhile() {
    explore(|| {
        let (pool, tally) = (pool(2, IMPATIENT), Tally::default());
        let mut asking = Asking::new(&pool);
        let server = asking.server.clone();
        let mover = thread::spawn(move || {
            server.set_max_threads(1);
            server.set_max_threads(3);
            server.set_max_threads(1);
        });
        (0..4).for_each(|number| asking.dispatch(&pool, job(number, &tally)));
        mover.join().expect("it does not panic");
        tally.wait_for(4);
        assert!(tally.take_peak() <= 3);
        (4..7).for_each(|number| asking.dispatch(&pool, job(number, &tally)));
        pool.join();
        assert_eq!(tally.ended(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(tally.take_peak(), 1);
    });
}
