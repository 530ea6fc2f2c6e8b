//! A logger that keeps the library's log lines in memory, for the whole test binary.

use std::sync::{Mutex, MutexGuard, Once};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct MemoryLogger;

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

impl Log for MemoryLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.target(), record.args());
        all_lines().push((record.level(), line));
    }

    fn flush(&self) {}
}

fn all_lines() -> MutexGuard<'static, Vec<(Level, String)>> {
    LINES
        .lock()
        .expect("no thread panics while it holds the lock")
}

/// The lines that are logged after this value was created.
pub struct Logs(usize);

impl Logs {
    /// Call it before the code that logs. Earlier lines may name the same addresses, because the
    /// system uses ports again.
    pub fn from_here() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&MemoryLogger).expect("the tests set no other logger");
            log::set_max_level(LevelFilter::Trace);
        });
        Logs(all_lines().len())
    }

    /// The lines that contain this text, oldest first: level, and `target: message`. Tests run in
    /// parallel, so use a text that only this test logs, such as an address.
    pub fn with(&self, text: &str) -> Vec<(Level, String)> {
        let all = all_lines();
        let lines = all[self.0..].iter();
        lines
            .filter(|(_, line)| line.contains(text))
            .cloned()
            .collect()
    }
}
