use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What is known of a socket's options without asking the system, as long as only the library sets them.
#[derive(Debug, Default)]
pub(super) struct KnownOptions {
    are_unknown: AtomicBool,
    /// In nanoseconds; 0 is no limit.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

impl KnownOptions {
    /// Of a socket that the program has made.
    pub(super) fn unknown() -> Self {
        let options = KnownOptions::default();
        options.forget();
        options
    }

    pub(super) fn forget(&self) {
        self.are_unknown.store(true, Relaxed);
    }

    pub(super) fn are_unknown(&self) -> bool {
        self.are_unknown.load(Relaxed)
    }

    /// `None` if it is unknown.
    pub(super) fn read_timeout(&self) -> Option<Option<Duration>> {
        self.known(&self.read_timeout)
    }

    /// `None` if it is unknown.
    pub(super) fn write_timeout(&self) -> Option<Option<Duration>> {
        self.known(&self.write_timeout)
    }

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.read_timeout.store(nanos(timeout), Relaxed);
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.write_timeout.store(nanos(timeout), Relaxed);
    }

    fn known(&self, option: &AtomicU64) -> Option<Option<Duration>> {
        if self.are_unknown() {
            return None;
        }
        let nanos = option.load(Relaxed);
        Some((nanos > 0).then(|| Duration::from_nanos(nanos)))
    }
}

fn nanos(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |timeout| {
        timeout.as_nanos().try_into().unwrap_or(u64::MAX)
    })
}
