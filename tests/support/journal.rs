//! What happened, in order.

use std::sync::{Arc, Mutex};

use crate::eventually;

/// A list that handlers and hooks write to, and the test reads.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn note(&self, what: impl Into<String>) {
        self.lock().push(what.into());
    }

    pub fn entries(&self) -> Vec<String> {
        self.lock().clone()
    }

    pub fn count(&self, what: &str) -> usize {
        self.lock().iter().filter(|entry| *entry == what).count()
    }

    /// Waits until it has been noted.
    pub fn wait_for(&self, what: &str) {
        eventually(what, || self.count(what) > 0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("nothing panics in here")
    }
}
