use std::fmt;
use std::mem;

use crate::green;

/// Where received bytes are put.
pub(crate) trait Space {
    fn space(&mut self) -> &mut [u8];

    /// Before a wait that may be long: memory that holds nothing is not kept meanwhile.
    fn give_back(&mut self) {}
}

/// The caller's own memory.
impl Space for &mut [u8] {
    fn space(&mut self) -> &mut [u8] {
        self
    }
}

/// What was received and not yet read.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The least size, in bytes. With 0 nothing is received ahead.
    pub(super) capacity: usize,
}

impl Buffer {
    pub(super) fn new(capacity: usize) -> Self {
        Buffer {
            capacity,
            ..Buffer::default()
        }
    }

    /// Moves out all that is there.
    pub(super) fn detach(&mut self) -> Self {
        let capacity = self.capacity;
        mem::replace(self, Buffer::new(capacity))
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// Removes and returns the first `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let taken = self.start..self.start + length;
        self.start = taken.end;
        &self.bytes[taken]
    }

    /// So many bytes were put into the space.
    pub(super) fn add(&mut self, received: usize) {
        self.end += received;
    }
}

impl Space for Buffer {
    fn space(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = green::current().map_or_else(Vec::new, green::CurrentTask::lend_buffer);
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // One that is lent may be from a server with shorter buffers.
        if self.end == self.bytes.len() || self.bytes.len() < self.capacity {
            let length = (self.end * 2).max(self.capacity).max(1);
            self.bytes.resize(length, 0);
        }
        // Without a buffer nothing may be read ahead, so a line is read byte by byte, as in Python.
        let end = if self.capacity == 0 {
            self.end + 1
        } else {
            self.bytes.len()
        };
        &mut self.bytes[self.end..end]
    }

    fn give_back(&mut self) {
        if let Some(task) = green::current().filter(|_| self.is_empty()) {
            (self.start, self.end) = (0, 0);
            if !self.bytes.is_empty() {
                task.give_back_buffer(mem::take(&mut self.bytes));
            }
        }
    }
}

/// Without the bytes: behind what was received there may be those of another client.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("length", &self.data().len())
            .field("capacity", &self.capacity)
            .finish()
    }
}
