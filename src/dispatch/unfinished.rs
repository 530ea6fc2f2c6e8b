use std::mem;

use super::Waker;

/// The jobs of a dispatcher that have not ended, and the servers that wait for one to end.
#[derive(Default)]
pub(super) struct Unfinished {
    /// Each server that has any, and how many. Few servers share a dispatcher.
    jobs: Vec<(usize, usize)>,
    wakers: Vec<Waker>,
}

impl Unfinished {
    pub(super) fn add(&mut self, server: usize) {
        match self.jobs.iter_mut().find(|(of, _)| *of == server) {
            Some((_, jobs)) => *jobs += 1,
            None => self.jobs.push((server, 1)),
        }
    }

    /// Returns the servers to wake.
    #[must_use]
    pub(super) fn remove(&mut self, server: usize) -> Vec<Waker> {
        if let Some(at) = self.jobs.iter().position(|(of, _)| *of == server) {
            self.jobs[at].1 -= 1;
            if self.jobs[at].1 == 0 {
                self.jobs.swap_remove(at);
            }
        }
        mem::take(&mut self.wakers)
    }

    /// How many jobs a server has.
    pub(super) fn of(&self, server: usize) -> usize {
        let found = self.jobs.iter().find(|(of, _)| *of == server);
        found.map_or(0, |(_, jobs)| *jobs)
    }

    /// Whether there are fewer than `limit`. If not, the next one that ends wakes the server.
    pub(super) fn are_fewer_than(&mut self, limit: usize, waker: &Waker) -> bool {
        if self.jobs.iter().map(|(_, jobs)| jobs).sum::<usize>() < limit {
            return true;
        }
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
        false
    }
}
