//! A log of events, in the order in which they happened.

use std::sync::{Arc, Mutex};

use crate::eventually;

/// A list of events. Handlers and hooks append to it, and the test reads it.
#[derive(Clone, Default)]
pub struct EventLog(Arc<Mutex<Vec<String>>>);

impl EventLog {
    pub fn record(&self, event: impl Into<String>) {
        self.lock().push(event.into());
    }

    pub fn entries(&self) -> Vec<String> {
        self.lock().clone()
    }

    pub fn count(&self, event: &str) -> usize {
        self.lock().iter().filter(|entry| *entry == event).count()
    }

    /// Waits until the event has been recorded.
    pub fn wait_for(&self, event: &str) {
        eventually(event, || self.count(event) > 0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0
            .lock()
            .expect("no thread panics while it holds the lock")
    }
}
