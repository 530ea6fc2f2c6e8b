//! As much of `parking_lot` as the crate uses, on shuttle's locks.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::BorrowedFd;
use std::sync::{PoisonError, TryLockError};
use std::time::{Duration, Instant};

use shuttle::sync;

use super::timeout_expires;

/// Not poisoned by a panic, like that of `parking_lot`.
#[derive(Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard(Some(guard), &self.0)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(MutexGuard(Some(guard), &self.0)),
            Err(TryLockError::Poisoned(error)) => {
                Some(MutexGuard(Some(error.into_inner()), &self.0))
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// `None` only while it waits or is unlocked.
pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>, &'a sync::Mutex<T>);

impl<T> MutexGuard<'_, T> {
    pub(crate) fn unlocked<R>(guard: &mut Self, act: impl FnOnce() -> R) -> R {
        drop(guard.0.take());
        let result = act();
        guard.0 = Some(guard.1.lock().unwrap_or_else(PoisonError::into_inner));
        result
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is not used during a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is not used during a wait")
    }
}

#[derive(Default)]
pub(crate) struct Condvar(sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Condvar::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let locked = guard.0.take().expect("one thread waits once at a time");
        let woken = self.0.wait(locked).unwrap_or_else(PoisonError::into_inner);
        guard.0 = Some(woken);
    }

    /// The timeout never expires: only a timer makes a thread wait with one, and tests set no timer.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) {
        self.wait(guard);
    }

    /// A timeout that expires does so at a random moment: the lock is released until the thread runs again.
    pub(crate) fn wait_for<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        timeout: Duration,
    ) -> WaitTimeoutResult {
        let expires = timeout_expires(timeout);
        if expires {
            MutexGuard::unlocked(guard, || ());
        } else {
            self.wait(guard);
        }
        WaitTimeoutResult(expires)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

/// The accept loop's notifications without descriptors: the clients of the model call `notify` instead.
#[derive(Default)]
pub(crate) struct Notifier {
    notified: Mutex<bool>,
    changed: Condvar,
}

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Notifier::default())
    }

    pub(crate) fn notify(&self) {
        *self.notified.lock() = true;
        self.changed.notify_all();
    }

    pub(crate) fn wait_or_interrupt(
        &self,
        _: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let mut notified = self.notified.lock();
        while !std::mem::take(&mut *notified) {
            if timeout.is_some_and(timeout_expires) {
                break;
            }
            self.changed.wait(&mut notified);
        }
        Ok(())
    }
}
