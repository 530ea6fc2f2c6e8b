use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::waiter::{Waiter, Waiters};
use crate::green;

/// A queue without a limit: [`Sender::send`] never waits.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(usize::MAX)
}

/// A queue of at most `capacity` values; 0 counts as 1. [`Sender::send`] waits while it is full.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel(capacity.max(1))
}

fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared(Mutex::new(State {
        queue: VecDeque::new(),
        capacity,
        senders: 1,
        receivers: 1,
        sending: Waiters::default(),
        receiving: Waiters::default(),
    })));
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receivers: usize,
    /// Those who wait for space.
    sending: Waiters,
    /// Those who wait for a value.
    receiving: Waiters,
}

/// The sending end. A clone sends to the same queue.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving end. A clone takes from the same queue: each value goes to one receiver.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Queues a value. Waits while the queue is full.
    ///
    /// # Errors
    ///
    /// There is no receiver any more; the value is in the error.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = value;
        loop {
            let waiter = {
                let mut state = self.0.0.lock();
                match state.push(value) {
                    Ok(receiver) => {
                        drop(state);
                        wake(receiver);
                        return Ok(());
                    }
                    Err(TrySendError::Disconnected(value)) => return Err(SendError(value)),
                    Err(TrySendError::Full(full)) => value = full,
                }
                state.sending.add(false)
            };
            waiter.wait(None);
        }
    }

    /// Queues a value if there is space. Never waits.
    ///
    /// # Errors
    ///
    /// The queue is full, or there is no receiver any more; the value is in the error.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let receiver = self.0.0.lock().push(value)?;
        wake(receiver);
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Takes the next value. Waits until there is one.
    ///
    /// # Errors
    ///
    /// The queue is empty, and there is no sender any more.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(None).map_err(|_| RecvError)
    }

    /// Takes the next value. Waits for it at most this long.
    ///
    /// # Errors
    ///
    /// The queue is still empty, or is empty and there is no sender any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// Takes the next value if there is one. Never waits.
    ///
    /// # Errors
    ///
    /// The queue is empty, or is empty and there is no sender any more.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.0.0.lock();
        let value = state.queue.pop_front();
        let sender = value.as_ref().and_then(|_| state.sending.pop());
        let is_open = state.senders > 0;
        drop(state);
        wake(sender);
        value.ok_or(if is_open {
            TryRecvError::Empty
        } else {
            TryRecvError::Disconnected
        })
    }

    /// Whether nothing is queued now.
    pub fn is_empty(&self) -> bool {
        self.0.0.lock().queue.is_empty()
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        loop {
            match self.try_recv() {
                Ok(value) => {
                    green::spend_budget(0);
                    return Ok(value);
                }
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let waiter = {
                let mut state = self.0.0.lock();
                if !state.queue.is_empty() || state.senders == 0 {
                    continue;
                }
                state.receiving.add(false)
            };
            if !waiter.wait(deadline) && self.0.0.lock().receiving.remove(&waiter) {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }
}

impl<T> State<T> {
    /// Returns a receiver to wake.
    fn push(&mut self, value: T) -> Result<Option<Arc<Waiter>>, TrySendError<T>> {
        if self.receivers == 0 {
            return Err(TrySendError::Disconnected(value));
        }
        if self.queue.len() >= self.capacity {
            return Err(TrySendError::Full(value));
        }
        self.queue.push_back(value);
        Ok(self.receiving.pop())
    }
}

fn wake(waiter: Option<Arc<Waiter>>) {
    if let Some(waiter) = waiter {
        waiter.wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.0.lock().senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.0.lock().receivers += 1;
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.senders -= 1;
        if state.senders == 0 {
            let waiting = std::mem::take(&mut state.receiving);
            drop(state);
            waiting.wake_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.receivers -= 1;
        if state.receivers == 0 {
            let waiting = std::mem::take(&mut state.sending);
            let unread = std::mem::take(&mut state.queue);
            drop(state);
            waiting.wake_all();
            drop(unread);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
