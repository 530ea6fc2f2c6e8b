//! The thread pool under the model: see [`crate::sync::model`]. A schedule that leaves a thread running
//! fails, so no test checks that all have ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Dispatch, Job, Subject, ThreadPool, Waker, Work};
use crate::handle::HandleConfig;
use crate::limits::Limits;
use crate::options::StreamOptions;
use crate::sync::model::{RunLog, explore};
use crate::sync::thread;
use crate::{Address, ServerHandle};

const SHORT: Duration = Duration::from_secs(1);
/// The server of all jobs but those of the test with two servers.
const SERVER: usize = 0;
const WITHOUT_LIMIT: Duration = Duration::MAX;

struct Numbered {
    server: usize,
    number: usize,
    log: RunLog,
    /// It ends after so many other jobs.
    waits_for: usize,
}

impl Work for Numbered {
    fn run(self: Box<Self>) -> bool {
        self.log.wait_for(self.waits_for);
        self.log.run(self.number);
        true
    }

    fn refuse(self: Box<Self>, error: io::Error) {
        panic!("job {} was refused: {error}", self.number);
    }

    fn server_identity(&self) -> usize {
        self.server
    }

    fn may_wait(&self) -> bool {
        self.number % 2 == 0
    }

    fn subject(&self) -> Subject<'_> {
        unreachable!("a pool does not look at its jobs")
    }
}

fn job(number: usize, log: &RunLog) -> Job {
    job_of(SERVER, number, log)
}

fn job_of(server: usize, number: usize, log: &RunLog) -> Job {
    job_that_waits(server, number, log, 0)
}

/// Ends after so many other jobs.
fn job_that_waits(server: usize, number: usize, log: &RunLog, waits_for: usize) -> Job {
    let log = log.clone();
    Job::new(Box::new(Numbered {
        server,
        number,
        log,
        waits_for,
    }))
}

fn pool(threads: usize, thread_keep_alive: Duration) -> ThreadPool {
    ThreadPool::new()
        .max_threads(threads)
        .thread_keep_alive(thread_keep_alive)
}

/// An accept loop without a listener: it checks for capacity, and waits until it is notified.
struct Acceptor {
    server: ServerHandle,
    waker: Waker,
}

impl Acceptor {
    fn new(pool: &ThreadPool) -> Self {
        let config = HandleConfig {
            name: None,
            is_stream: true,
            streams: StreamOptions::default(),
            limits: Limits::default(),
            drain_delay: Duration::ZERO,
            shutdown_timeout: None,
            threads: pool.thread_gauge(),
            children: None,
        };
        let server = ServerHandle::new(Address::Unnamed, config).expect("no descriptor is needed");
        Acceptor {
            waker: Waker::new(&server),
            server,
        }
    }

    fn dispatch(&self, pool: &ThreadPool, job: Job) {
        while !pool.has_capacity(&self.waker) {
            let waited = self.server.poller().wait(None, None);
            waited.expect("the model's poller does not fail");
        }
        pool.dispatch(job);
    }
}

#[test]
fn each_job_runs_once_and_within_the_limit() {
    explore(|| {
        let (pool, log) = (pool(2, SHORT), RunLog::default());
        (0..4).for_each(|number| pool.dispatch(job(number, &log)));
        log.wait_for(4);
        pool.dispatch(job(4, &log));
        pool.wait_for(SERVER, 0);
        assert_eq!(log.ended(), [0, 1, 2, 3, 4]);
        assert!(log.take_peak() <= 2);
        assert!(pool.threads() <= 2);
    });
}

#[test]
fn a_job_sent_to_an_idle_worker_runs() {
    explore(|| {
        let (pool, log) = (pool(1, SHORT), RunLog::default());
        for number in 0..4 {
            pool.dispatch(job(number, &log));
            log.wait_for(number + 1);
        }
        drop(pool);
        assert_eq!(log.ended(), [0, 1, 2, 3]);
    });
}

#[test]
fn no_job_waits_for_another_while_there_are_threads() {
    explore(|| {
        let pool = pool(3, SHORT);
        for log in [RunLog::default(), RunLog::default()] {
            // Each ends after those with a higher number.
            let job = |number| job_that_waits(SERVER, number, &log, 2 - number);
            (0..3).for_each(|number| pool.dispatch(job(number)));
            log.wait_for(3);
        }
    });
}

#[test]
fn closing_runs_what_is_queued() {
    explore(|| {
        let (pool, log) = (pool(2, WITHOUT_LIMIT), RunLog::default());
        (0..5).for_each(|number| pool.dispatch(job(number, &log)));
        pool.wait_for(SERVER, 0);
        assert_eq!(log.ended(), [0, 1, 2, 3, 4]);
        assert!(log.take_peak() <= 2);
    });
}

#[test]
fn dropping_runs_what_is_queued() {
    explore(|| {
        let (pool, log) = (pool(1, WITHOUT_LIMIT), RunLog::default());
        (0..3).for_each(|number| pool.dispatch(job(number, &log)));
        drop(pool);
        log.wait_for(3);
        assert_eq!(log.ended(), [0, 1, 2]);
    });
}

#[test]
fn a_server_without_capacity_is_woken() {
    explore(|| {
        let (pool, log) = (Arc::new(pool(1, SHORT)), RunLog::default());
        let servers = [0, 1].map(|server| {
            let (pool, log) = (Arc::clone(&pool), log.clone());
            thread::spawn(move || {
                let acceptor = Acceptor::new(&pool);
                for number in [server, server + 2, server + 4] {
                    acceptor.dispatch(&pool, job(number, &log));
                }
            })
        });
        for server in servers {
            server.join().expect("it does not panic");
        }
        pool.wait_for(SERVER, 0);
        assert_eq!(log.ended(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(log.take_peak(), 1);
    });
}

#[test]
fn each_server_waits_for_its_own_jobs() {
    explore(|| {
        let pool = Arc::new(pool(2, WITHOUT_LIMIT));
        let servers = [1, 2].map(|server| {
            let (pool, log) = (Arc::clone(&pool), RunLog::default());
            thread::spawn(move || {
                (0..3).for_each(|number| pool.dispatch(job_of(server, number, &log)));
                pool.wait_for(server, 0);
                assert_eq!(log.ended(), [0, 1, 2]);
            })
        });
        drop(pool);
        for server in servers {
            server.join().expect("it does not panic");
        }
    });
}

#[test]
fn the_limit_changes_while_jobs_run() {
    explore(|| {
        let (pool, log) = (pool(2, SHORT), RunLog::default());
        let acceptor = Acceptor::new(&pool);
        let server = acceptor.server.clone();
        let changer = thread::spawn(move || {
            server.set_max_threads(1);
            server.set_max_threads(3);
            server.set_max_threads(1);
        });
        (0..4).for_each(|number| acceptor.dispatch(&pool, job(number, &log)));
        changer.join().expect("it does not panic");
        log.wait_for(4);
        assert!(log.take_peak() <= 3);
        (4..7).for_each(|number| acceptor.dispatch(&pool, job(number, &log)));
        pool.wait_for(SERVER, 0);
        assert_eq!(log.ended(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(log.take_peak(), 1);
    });
}
