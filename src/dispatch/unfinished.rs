use std::mem;

use super::Waker;

/// The jobs of a dispatcher that have not ended, and the servers that wait for one to end.
#[derive(Default)]
pub(super) struct Unfinished {
    total: usize,
    /// How many, for each server that has any. Seldom more than one.
    servers: Vec<(usize, usize)>,
    /// Several servers may share a dispatcher.
    wakers: Vec<Waker>,
}

impl Unfinished {
    pub(super) fn add(&mut self, server: usize) {
        self.total += 1;
        match self.servers.iter_mut().find(|(other, _)| *other == server) {
            Some((_, jobs)) => *jobs += 1,
            None => self.servers.push((server, 1)),
        }
    }

    /// Returns the servers to wake.
    #[must_use]
    pub(super) fn remove(&mut self, server: usize) -> Vec<Waker> {
        let of_server = |(other, _): &(usize, usize)| *other == server;
        if let Some(at) = self.servers.iter().position(of_server) {
            self.total -= 1;
            self.servers[at].1 -= 1;
            if self.servers[at].1 == 0 {
                self.servers.swap_remove(at);
            }
        }
        mem::take(&mut self.wakers)
    }

    /// How many jobs a server has.
    pub(super) fn of(&self, server: usize) -> usize {
        let of_server = |(other, _): &&(usize, usize)| *other == server;
        let found = self.servers.iter().find(of_server);
        found.map_or(0, |(_, jobs)| *jobs)
    }

    /// Whether there are fewer than `limit`. If not, the next one that ends wakes the server.
    pub(super) fn are_fewer_than(&mut self, limit: usize, waker: &Waker) -> bool {
        if self.total < limit {
            return true;
        }
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
        false
    }
}
