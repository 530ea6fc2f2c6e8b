//! Without the feature `green` no code runs on a task. In place of the module `green`.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::handle::RequestName;

#[derive(Clone, Copy)]
pub(crate) enum CurrentTask {}

#[inline]
pub(crate) fn current() -> Option<CurrentTask> {
    None
}

pub(crate) fn with_running_servers<R, F: FnOnce(&mut Vec<usize>) -> R>(f: F) -> Result<R, F> {
    Err(f)
}

pub(crate) fn set_client_address(_: &RequestName<'_>) {}

#[inline]
pub(crate) fn spend_budget(_: usize) {}

impl CurrentTask {
    pub(crate) fn yield_now(self) {
        match self {}
    }

    pub(crate) fn sleep(self, _: Option<Instant>) {
        match self {}
    }

    pub(crate) fn lend_buffer(self) -> Vec<u8> {
        match self {}
    }

    pub(crate) fn give_back_buffer(self, _: Vec<u8>) {
        match self {}
    }

    pub(crate) fn handle(self) -> TaskHandle {
        match self {}
    }

    pub(crate) fn join<A, B>(
        self,
        _: impl FnOnce() -> A,
        _: impl FnOnce() -> B,
    ) -> io::Result<(A, B)> {
        match self {}
    }
}

pub(crate) enum TaskHandle {}

impl TaskHandle {
    pub(crate) fn park(&self, _: Option<Instant>) {
        match *self {}
    }

    pub(crate) fn wake(&self) {
        match *self {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    NextEvent,
    Write,
}

#[derive(Debug)]
pub(crate) enum Registration {}

impl Registration {
    pub(crate) fn new(task: CurrentTask, _: &impl AsFd) -> io::Result<Self> {
        match task {}
    }

    pub(crate) fn delete(&self, _: &impl AsFd) {
        match *self {}
    }

    pub(crate) fn before_close(&self, _: &impl AsFd) {
        match *self {}
    }

    pub(crate) fn set_empty(&self) {
        match *self {}
    }

    pub(crate) fn set_drained(&self) {
        match *self {}
    }

    pub(crate) fn may_read(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_here(&self) -> bool {
        match *self {}
    }

    pub(crate) fn wait(&self, _: Interest, _: Option<Instant>) -> bool {
        match *self {}
    }
}
