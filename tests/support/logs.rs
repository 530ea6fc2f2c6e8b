//! Keeps what the library logs, for the whole test binary.

use std::sync::{Mutex, MutexGuard, Once};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Keeper;

static KEPT: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.target(), record.args());
        kept().push((record.level(), line));
    }

    fn flush(&self) {}
}

fn kept() -> MutexGuard<'static, Vec<(Level, String)>> {
    KEPT.lock().expect("nothing panics in here")
}

/// What is logged from here on.
pub struct Logs(usize);

impl Logs {
    /// To be called before what is to be logged. What was logged before may be about the same
    /// addresses, for ports are used again.
    pub fn from_here() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&Keeper).expect("the tests set no other logger");
            log::set_max_level(LevelFilter::Trace);
        });
        Logs(kept().len())
    }

    /// What was logged with this text in it, oldest first: level, and `target: message`. Tests run
    /// side by side, so the text should be one that only this test has, such as an address.
    pub fn with(&self, text: &str) -> Vec<(Level, String)> {
        let kept = kept();
        let lines = kept[self.0..].iter();
        lines
            .filter(|(_, line)| line.contains(text))
            .cloned()
            .collect()
    }
}
