#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use polling::{Event, Events, PollMode};

use super::{Condvar, Mutex, time_is_over};

/// A `polling::Poller` that knows of no descriptors: the model's clients ring when they come.
#[derive(Default)]
pub(crate) struct Poller {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Poller::default())
    }

    pub(crate) fn notify(&self) -> io::Result<()> {
        *self.notified.lock() = true;
        self.changed.notify_all();
        Ok(())
    }

    pub(crate) fn wait(&self, _: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        let mut notified = self.notified.lock();
        while !std::mem::take(&mut *notified) {
            if timeout.is_some_and(time_is_over) {
                break;
            }
            self.changed.wait(&mut notified);
        }
        Ok(0)
    }

    /// # Safety
    ///
    /// Nothing is done with the descriptor.
    pub(crate) unsafe fn add_with_mode(
        &self,
        _: impl AsFd,
        _: Event,
        _: PollMode,
    ) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn delete(&self, _: impl AsFd) -> io::Result<()> {
        Ok(())
    }
}
