use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// How many threads a dispatcher has, the most it has had, and the most it may have. Clones share one
/// gauge.
///
/// A [`Dispatch`](crate::Dispatch) of your own that keeps one up to date shows its threads in the
/// server's [`Statistics`](crate::Statistics), and its limit can be changed through
/// [`ServerHandle::set_max_threads`](crate::ServerHandle::set_max_threads).
#[derive(Clone, Debug)]
pub struct ThreadGauge(Arc<Gauge>);

#[derive(Debug)]
struct Gauge {
    threads: AtomicUsize,
    peak: AtomicUsize,
    limit: AtomicUsize,
}

impl ThreadGauge {
    /// A gauge at 0 threads. A limit of 0 counts as 1.
    pub fn new(limit: usize) -> Self {
        ThreadGauge(Arc::new(Gauge {
            threads: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit.max(1)),
        }))
    }

    /// How many threads there are, busy or idle.
    pub fn threads(&self) -> usize {
        self.0.threads.load(Ordering::Relaxed)
    }

    /// The highest number of threads so far.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// How many threads there may be.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Records how many threads there are now.
    pub fn set_threads(&self, threads: usize) {
        self.0.threads.store(threads, Ordering::Relaxed);
        self.0.peak.fetch_max(threads, Ordering::Relaxed);
    }

    /// Sets how many threads there may be; 0 counts as 1. Busy threads beyond it end after their
    /// request. This does not wake a server that waits for a thread;
    /// [`ServerHandle::set_max_threads`](crate::ServerHandle::set_max_threads) does.
    pub fn set_limit(&self, threads: usize) {
        self.0.limit.store(threads.max(1), Ordering::Relaxed);
    }
}
