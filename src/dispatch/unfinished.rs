use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;

use super::Waker;

/// The jobs of a dispatcher that have not ended, and the servers that wait for one to end.
#[derive(Default)]
pub(super) struct Unfinished {
    /// How many, for each server that has any.
    jobs: HashMap<usize, usize>,
    /// Several servers may share a dispatcher.
    wakers: Vec<Waker>,
}

impl Unfinished {
    pub(super) fn add(&mut self, server: usize) {
        *self.jobs.entry(server).or_default() += 1;
    }

    /// Returns the servers to wake.
    #[must_use]
    pub(super) fn remove(&mut self, server: usize) -> Vec<Waker> {
        if let Entry::Occupied(mut jobs) = self.jobs.entry(server) {
            *jobs.get_mut() -= 1;
            if *jobs.get() == 0 {
                jobs.remove();
            }
        }
        mem::take(&mut self.wakers)
    }

    /// How many jobs a server has.
    pub(super) fn of(&self, server: usize) -> usize {
        self.jobs.get(&server).copied().unwrap_or(0)
    }

    /// Whether there are fewer than `limit`. If not, the next one that ends wakes the server.
    pub(super) fn are_fewer_than(&mut self, limit: usize, waker: &Waker) -> bool {
        if self.jobs.values().sum::<usize>() < limit {
            return true;
        }
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
        false
    }
}
