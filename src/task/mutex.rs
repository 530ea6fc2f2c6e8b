use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::lock_api::{self, GuardSend, RawMutexTimed};

use super::waiter::{Waiter, Waiters};

/// A lock that may be held while a task waits for its client: a task that waits for the lock is suspended. A
/// panic does not poison it. The lock is fair: nobody waits for it while another caller takes it again and again.
///
/// In a destructor that a panic runs nothing is suspended: there the lock blocks the worker, and forever if a task of
/// the same worker holds it. Let no destructor take it.
///
/// ```
/// use socketserver::prelude::*;
/// use socketserver::task;
///
/// /// Sends to two clients by turns. Nobody else sends in between.
/// fn send_twice(clients: &task::Mutex<[StreamRequest; 2]>) -> HandlerResult {
///     for client in &mut *clients.lock() {
///         client.wfile.write_all(b"hello\n")?;
///         client.wfile.flush()?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Default)]
pub struct Mutex<T: ?Sized>(lock_api::Mutex<RawMutex, T>);

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Mutex(lock_api::Mutex::new(value))
    }

    /// The value. Does not block.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock())
    }

    /// Takes the lock if it is free. Does not block.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().map(MutexGuard)
    }

    /// Waits for the lock, at most for `timeout`. `None` after it.
    pub fn try_lock_for(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock_for(timeout).map(MutexGuard)
    }

    /// The same, at most until `deadline`.
    pub(crate) fn try_lock_until(&self, deadline: Instant) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock_until(deadline).map(MutexGuard)
    }

    /// The value, which nobody else can have now. Does not block.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Holds the lock of a [`Mutex`] until it is dropped.
pub struct MutexGuard<'a, T: ?Sized>(lock_api::MutexGuard<'a, RawMutex, T>);

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Display + ?Sized> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const LOCKED: u8 = 1;
/// Somebody may wait.
const AWAITED: u8 = 2;

struct RawMutex {
    state: AtomicU8,
    queue: parking_lot::Mutex<Queue>,
}

struct Queue {
    waiters: Waiters,
    /// The first waiter was woken, and another caller had the lock. The next unlock gives the lock to it.
    is_fair: bool,
    /// The waiter to which the lock was given.
    owner: Option<Arc<Waiter>>,
}

impl Queue {
    /// Whether the lock was given to this waiter.
    fn was_given(&mut self, waiter: &Arc<Waiter>) -> bool {
        let is_owner = |owner: &mut Arc<Waiter>| Arc::ptr_eq(owner, waiter);
        self.owner.take_if(is_owner).is_some()
    }
}

impl RawMutex {
    #[cold]
    fn lock_slowly(&self, deadline: Option<Instant>) -> bool {
        let mut was_woken = false;
        loop {
            let waiter = {
                let mut queue = self.queue.lock();
                // Who unlocks from here on sees that somebody waits, and then waits for the queue.
                let before = self.state.fetch_or(LOCKED | AWAITED, Ordering::Acquire);
                if before & LOCKED == 0 {
                    return true;
                }
                queue.is_fair |= was_woken;
                queue.waiters.add(was_woken)
            };
            if !waiter.wait(deadline) {
                return self.give_up(&waiter);
            }
            if self.queue.lock().was_given(&waiter) {
                return true;
            }
            was_woken = true;
        }
    }

    /// After the deadline. Returns whether the lock was given to the waiter meanwhile.
    fn give_up(&self, waiter: &Arc<Waiter>) -> bool {
        let mut queue = self.queue.lock();
        if queue.was_given(waiter) {
            return true;
        }
        if !queue.waiters.remove(waiter) {
            // It was woken to take the lock. Another one may have to.
            let next = queue.waiters.pop();
            drop(queue);
            wake(next);
        }
        false
    }

    #[cold]
    fn unlock_slowly(&self) {
        let next = {
            let mut queue = self.queue.lock();
            let next = queue.waiters.pop();
            let mut state = if queue.waiters.is_empty() { 0 } else { AWAITED };
            if next.is_some() && mem::take(&mut queue.is_fair) {
                queue.owner.clone_from(&next);
                state |= LOCKED;
            }
            // Others change it only if it is unlocked, or while they have the queue.
            self.state.store(state, Ordering::Release);
            next
        };
        wake(next);
    }
}

fn wake(waiter: Option<Arc<Waiter>>) {
    if let Some(waiter) = waiter {
        waiter.wake();
    }
}

// SAFETY: only one caller at a time finds the bit `LOCKED` unset and sets it. Only `unlock` unsets it, or leaves it set
// for the one waiter that it gives the lock to.
#[allow(unsafe_code)]
unsafe impl lock_api::RawMutex for RawMutex {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = RawMutex {
        state: AtomicU8::new(0),
        queue: parking_lot::const_mutex(Queue {
            waiters: Waiters::EMPTY,
            is_fair: false,
            owner: None,
        }),
    };

    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        if !lock_api::RawMutex::try_lock(self) {
            self.lock_slowly(None);
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        let before = self.state.load(Ordering::Relaxed);
        before & LOCKED == 0
            && self
                .state
                .compare_exchange(
                    before,
                    before | LOCKED,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    #[inline]
    unsafe fn unlock(&self) {
        let unlocked = self
            .state
            .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        if unlocked.is_err() {
            self.unlock_slowly();
        }
    }
}

// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.try_lock_until(deadline),
            None => lock_api::RawMutex::try_lock(self) || self.lock_slowly(None),
        }
    }

    fn try_lock_until(&self, deadline: Instant) -> bool {
        lock_api::RawMutex::try_lock(self) || self.lock_slowly(Some(deadline))
    }
}
