//! Catches what the library logs, for the whole test binary.

use std::sync::{Mutex, Once};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Catcher;

static CAUGHT: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

impl Log for Catcher {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.target(), record.args());
        CAUGHT
            .lock()
            .expect("no test panics in here")
            .push((record.level(), line));
    }

    fn flush(&self) {}
}

/// Starts catching. Call it first in a test that looks at the log.
pub fn catch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Catcher).expect("the tests set no other logger");
        log::set_max_level(LevelFilter::Trace);
    });
}

/// What was logged with this text in it, oldest first: level, and `target: message`. Tests of one
/// binary run side by side, so look for something only your test says, such as its address.
pub fn with(text: &str) -> Vec<(Level, String)> {
    let caught = CAUGHT.lock().expect("no test panics in here");
    caught
        .iter()
        .filter(|(_, line)| line.contains(text))
        .cloned()
        .collect()
}
