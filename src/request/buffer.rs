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
///
/// Its memory begins small and grows with what the client sends, so that a connection with short messages takes
/// little, and what a message needs is close together. Tasks lend each other buffers instead.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Up to this size, in bytes, it grows when a read fills it. With 0 nothing is received ahead.
    pub(super) capacity: usize,
    /// How often in a row the smallest memory would have been enough for what was received.
    small_uses: u8,
}

impl Buffer {
    /// The size of its memory at first, in bytes.
    const SMALLEST: usize = 1024;

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
        let was_filled = self.end == self.bytes.len();
        if self.is_empty() {
            self.shrink();
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if was_filled {
            self.grow();
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

impl Buffer {
    /// The last read has filled it, or there is no memory yet.
    fn grow(&mut self) {
        let mut length = (self.bytes.len() * 2)
            .max(Self::SMALLEST)
            .min(self.capacity);
        if let Some(task) = green::current() {
            length = self.capacity;
            if self.bytes.is_empty() {
                self.bytes = task.lend_buffer();
            }
        }
        if self.end >= length {
            // A message that is longer than the capacity.
            length = (self.end * 2).max(1);
        }
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
    }

    /// Nothing is in it. After several short messages in a row it becomes small again.
    fn shrink(&mut self) {
        const MAX_SMALL_USES: u8 = 8;
        if self.bytes.len() <= Self::SMALLEST || self.end > Self::SMALLEST {
            self.small_uses = 0;
        } else if self.end > 0 {
            self.small_uses += 1;
        }
        if self.small_uses < MAX_SMALL_USES {
            return;
        }
        self.small_uses = 0;
        if green::current().is_none() {
            self.bytes.truncate(Self::SMALLEST);
            self.bytes.shrink_to_fit();
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
