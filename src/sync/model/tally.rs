use std::sync::Arc;

use super::{Condvar, Mutex};
use crate::sync::thread;

/// Who has run, how often, and how many at once. Clones are the same tally.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Shared>);

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    ended: Condvar,
}

#[derive(Default)]
struct Counts {
    running: usize,
    most: usize,
    ended: Vec<usize>,
}

impl Tally {
    /// Runs for a while.
    pub(crate) fn run(&self, number: usize) {
        self.begin();
        thread::yield_now();
        self.end(number);
    }

    pub(crate) fn begin(&self) {
        let mut counts = self.0.counts.lock();
        counts.running += 1;
        counts.most = counts.most.max(counts.running);
    }

    pub(crate) fn end(&self, number: usize) {
        let mut counts = self.0.counts.lock();
        counts.running -= 1;
        counts.ended.push(number);
        drop(counts);
        self.0.ended.notify_all();
    }

    /// Waits until so many have ended.
    pub(crate) fn wait_for(&self, number: usize) {
        let mut counts = self.0.counts.lock();
        while counts.ended.len() < number {
            self.0.ended.wait(&mut counts);
        }
    }

    /// The most that ran at once since this was asked last.
    pub(crate) fn take_most(&self) -> usize {
        std::mem::take(&mut self.0.counts.lock().most)
    }

    /// Who has ended, in order of their numbers.
    pub(crate) fn ended(&self) -> Vec<usize> {
        let mut ended = self.0.counts.lock().ended.clone();
        ended.sort_unstable();
        ended
    }
}
