//! What waits to be sent to one client: text put in by anybody, taken out by the client's own
//! thread.

use parking_lot::{Condvar, Mutex};

/// How much may wait for a client that reads slowly, in bytes, beside what its socket holds.
const MOST: usize = 1 << 20;

#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: String,
    closed: bool,
}

impl Outbox {
    /// Never blocks. Says no, once, when there is no room: the client does not read, and what waits
    /// for it is thrown away.
    pub fn put(&self, line: &str) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return true;
        }
        let fits = waiting.text.len() + line.len() <= MOST;
        if fits {
            waiting.text.push_str(line);
        } else {
            *waiting = Waiting {
                text: String::new(),
                closed: true,
            };
        }
        self.changed.notify_one();
        fits
    }

    /// Nothing more is put in; what waits is still sent.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for text, and takes all there is: many short lines are one write. `None` when the outbox
    /// is closed and empty.
    pub fn take(&self) -> Option<String> {
        let mut waiting = self.waiting.lock();
        while waiting.text.is_empty() && !waiting.closed {
            self.changed.wait(&mut waiting);
        }
        let text = std::mem::take(&mut waiting.text);
        (!text.is_empty()).then_some(text)
    }
}
