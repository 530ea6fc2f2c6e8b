//! As much of `parking_lot` as the crate uses, on shuttle's locks.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::BorrowedFd;
use std::sync::{PoisonError, TryLockError};
use std::time::Instant;

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
        MutexGuard(Some(guard))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(MutexGuard(Some(guard))),
            Err(TryLockError::Poisoned(error)) => Some(MutexGuard(Some(error.into_inner()))),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// `None` only inside [`Condvar::wait`].
pub(crate) struct MutexGuard<'a, T>(Option<sync::MutexGuard<'a, T>>);

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

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
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

/// As much of `crossbeam_channel` as the thread pool uses.
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    pub(crate) use crossbeam_channel::{RecvTimeoutError, TrySendError};

    use super::{Condvar, Mutex, timeout_expires};

    /// A channel for up to `capacity` messages. It never disconnects, because each worker owns both ends
    /// of its channel.
    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let channel = Arc::new(Channel {
            capacity,
            messages: Mutex::default(),
            sent: Condvar::new(),
        });
        (Sender(Arc::clone(&channel)), Receiver(channel))
    }

    struct Channel<T> {
        capacity: usize,
        messages: Mutex<VecDeque<T>>,
        sent: Condvar,
    }

    pub(crate) struct Sender<T>(Arc<Channel<T>>);

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Sender(Arc::clone(&self.0))
        }
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
            let mut messages = self.0.messages.lock();
            if messages.len() == self.0.capacity {
                return Err(TrySendError::Full(message));
            }
            messages.push_back(message);
            drop(messages);
            self.0.sent.notify_all();
            Ok(())
        }
    }

    pub(crate) struct Receiver<T>(Arc<Channel<T>>);

    impl<T> Receiver<T> {
        pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
            let mut messages = self.0.messages.lock();
            loop {
                if let Some(message) = messages.pop_front() {
                    return Ok(message);
                }
                if timeout_expires(timeout) {
                    return Err(RecvTimeoutError::Timeout);
                }
                self.0.sent.wait(&mut messages);
            }
        }
    }
}
