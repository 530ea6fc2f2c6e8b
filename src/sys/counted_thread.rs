use std::fs;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The threads of all pools.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A thread of a pool, for which the system has memory mappings. Where it has none, Rust's standard library aborts the
/// program, because the thread cannot set up its stack for signal handlers.
pub(crate) struct CountedThread;

impl CountedThread {
    /// Fails if there are too many threads for one more.
    pub(crate) fn new() -> io::Result<Self> {
        /// The stack, the stack for signal handlers, and the guard page of each.
        const MAPPINGS: usize = 4;
        let before = THREADS.fetch_add(1, Ordering::Relaxed);
        let counted = CountedThread;
        match max_mappings() {
            // The rest of the program has mappings too.
            Some(max) if before >= max / 20 * 19 / MAPPINGS => {
                let message =
                    format!("vm.max_map_count is {max}, and each thread takes {MAPPINGS} mappings");
                Err(io::Error::new(io::ErrorKind::OutOfMemory, message))
            }
            _ => Ok(counted),
        }
    }
}

impl Drop for CountedThread {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many mappings the program may have. Only Linux limits them. It is read once, because that takes a descriptor.
fn max_mappings() -> Option<usize> {
    static MAX: OnceLock<usize> = OnceLock::new();
    if let Some(max) = MAX.get() {
        return Some(*max);
    }
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let max = limit.trim().parse().ok()?;
    Some(*MAX.get_or_init(|| max))
}
