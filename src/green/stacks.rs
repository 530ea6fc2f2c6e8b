use std::io;

use parking_lot::Mutex;

use crate::sys::stack::Stack;

/// How many stacks are kept, and how many of them for long.
const MAX_KEPT: usize = 1024;
const MIN_KEPT: usize = 16;

/// The stacks of tasks that have ended, for new ones. All workers share them, so that none keeps a stack that
/// another one needs where the system has no memory for more.
pub(crate) struct Stacks {
    size: usize,
    kept: Mutex<Vec<Stack>>,
}

impl Stacks {
    /// Each has at least `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Stacks {
            size,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The one that was given back last, or a new one.
    pub(super) fn take(&self) -> io::Result<Stack> {
        let kept = self.kept.lock().pop();
        kept.map_or_else(|| Stack::new(self.size), Ok)
    }

    pub(super) fn give_back(&self, stack: Stack) {
        let mut kept = self.kept.lock();
        if kept.len() < MAX_KEPT {
            kept.push(stack);
        }
    }

    /// Gives half of them back to the system. Returns false if few are left.
    pub(super) fn trim(&self) -> bool {
        let mut kept = self.kept.lock();
        let fewer = (kept.len() / 2).max(MIN_KEPT);
        kept.truncate(fewer);
        kept.len() > MIN_KEPT
    }
}
