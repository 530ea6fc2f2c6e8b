//! As much of `crossbeam_channel` as the thread pool uses.

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
