use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes received and sent. Each is written by one thread at a time: there is one reader, and
/// writers take turns.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub(super) fn add_received(&self, bytes: usize) {
        add(&self.received, bytes);
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        add(&self.sent, bytes);
    }

    /// Received and sent so far.
    pub(super) fn totals(&self) -> (u64, u64) {
        (
            self.received.load(Ordering::Relaxed),
            self.sent.load(Ordering::Relaxed),
        )
    }
}

fn add(counter: &AtomicU64, bytes: usize) {
    counter.store(
        counter.load(Ordering::Relaxed) + bytes as u64,
        Ordering::Relaxed,
    );
}
