use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// How many threads a dispatcher has, the most it has had, and the most it may have. Clones are the
/// same gauge.
///
/// A [`Dispatch`](crate::Dispatch) of your own that keeps one up to date shows its threads in the
/// server's [`Statistics`](crate::Statistics), and can have its bound changed through the
/// [`ServerHandle`](crate::ServerHandle::set_max_threads).
#[derive(Clone, Debug)]
pub struct ThreadGauge(Arc<Gauge>);

#[derive(Debug)]
struct Gauge {
    threads: AtomicUsize,
    most: AtomicUsize,
    bound: AtomicUsize,
}

impl ThreadGauge {
    /// A gauge at 0. A bound of 0 counts as 1.
    pub fn new(bound: usize) -> Self {
        ThreadGauge(Arc::new(Gauge {
            threads: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            bound: AtomicUsize::new(bound.max(1)),
        }))
    }

    /// How many threads there are, busy or idle.
    pub fn threads(&self) -> usize {
        self.0.threads.load(Ordering::Relaxed)
    }

    /// The most there have been at once.
    pub fn peak(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }

    /// The most there may be.
    pub fn limit(&self) -> usize {
        self.0.bound.load(Ordering::Relaxed)
    }

    /// Says how many threads there are now.
    pub fn set_threads(&self, threads: usize) {
        self.0.threads.store(threads, Ordering::Relaxed);
        self.0.most.fetch_max(threads, Ordering::Relaxed);
    }

    /// Sets the most there may be; 0 counts as 1. Busy threads beyond it end as they become free. A
    /// server that waits for a thread does not notice:
    /// [`ServerHandle::set_max_threads`](crate::ServerHandle::set_max_threads) tells it.
    pub fn set_limit(&self, threads: usize) {
        self.0.bound.store(threads.max(1), Ordering::Relaxed);
    }
}
