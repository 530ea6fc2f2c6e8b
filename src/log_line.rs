//! Log lines. Nothing that the program brings along, its logger or the text of an error, can panic into
//! the code that logs, and nothing that a client sends can begin a line or change a terminal.

use std::fmt::{self, Write};

use crate::error::catch;

/// Writes a log line: `log::log!`, contained. All lines of the library go through it.
///
/// Never panics, so it may be called while the thread unwinds. If the level is disabled, the text is not
/// evaluated.
macro_rules! log_line {
    (target: $target:literal, $level:ident, $($text:tt)+) => {
        if log::Level::$level <= log::STATIC_MAX_LEVEL && log::Level::$level <= log::max_level() {
            let _ = $crate::error::catch(|| {
                if log::log_enabled!(target: $target, log::Level::$level) {
                    let line = $crate::log_line::render(format_args!($($text)+));
                    log::log!(target: $target, log::Level::$level, "{line}");
                }
            });
        }
    };
}

pub(crate) use log_line;

/// The text of a line, escaped. It is rendered before the logger is called, because many loggers format
/// with a lock held, which a panic would poison.
pub(crate) fn render(text: fmt::Arguments<'_>) -> String {
    let mut line = String::new();
    if let Err(panicked) = catch(|| line.write_fmt(text)) {
        let _ = write!(line, "(this text {panicked})");
    }
    escape(&line)
}

/// Text of a client, for a log line: what is not printable is escaped as in a string literal. That is
/// control characters, also those that begin a line or an escape code, bidirectional controls, and all
/// separators but the space.
fn escape(text: &str) -> String {
    // `escape_debug` escapes these too.
    const PRINTABLE: [char; 3] = ['"', '\'', '\\'];
    let mut escaped = String::with_capacity(text.len());
    for part in text.split_inclusive(PRINTABLE) {
        let before = part.trim_end_matches(PRINTABLE);
        escaped.extend(before.escape_debug());
        escaped.push_str(&part[before.len()..]);
    }
    escaped
}

/// The same for bytes: those that are not UTF-8 are escaped one by one.
pub(crate) fn escape_bytes(bytes: &[u8]) -> String {
    let mut escaped = String::new();
    for chunk in bytes.utf8_chunks() {
        escaped.push_str(&escape(chunk.valid()));
        escaped.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    escaped
}
