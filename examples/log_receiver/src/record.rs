//! One log record, and how it is printed.

use std::fmt;

use serde_pickle::{HashableValue, Value};

use super::pickle::Attributes;
use super::{percent, repr};

/// The attributes of a `logging.LogRecord`; any of them may be missing.
pub struct Record(pub Attributes);

impl Record {
    fn get(&self, name: &str) -> Option<&Value> {
        let value = self.0.get(&HashableValue::String(name.to_owned()));
        value.filter(|value| **value != Value::None)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).map_or_else(|| "-".to_owned(), repr::text)
    }

    /// The message with its arguments; the two next to each other if they do not fit.
    fn message(&self) -> String {
        let message = self.text("msg");
        match self.get("args") {
            Some(arguments) if !repr::is_empty(arguments) => percent::apply(&message, arguments)
                .unwrap_or_else(|| format!("{message} {}", repr::repr(arguments))),
            _ => message,
        }
    }

    fn time(&self) -> String {
        match self.get("created") {
            Some(Value::F64(seconds)) => time(*seconds),
            Some(Value::I64(seconds)) => time(*seconds as f64),
            _ => "-".to_owned(),
        }
    }
}

/// `TIME LEVEL LOGGER: MESSAGE`, and the traceback after it if there is one. Further lines are indented,
/// so that one record cannot look like two.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, name) = (self.text("levelname"), self.text("name"));
        let (level, name) = (printable(&level, "\\n"), printable(&name, "\\n"));
        write!(f, "{} {level} {name}: ", self.time())?;
        f.write_str(&printable(&self.message(), "\n    "))?;
        for more in ["exc_text", "stack_info"] {
            if let Some(text) = self.get(more) {
                write!(f, "\n    {}", printable(&repr::text(text), "\n    "))?;
            }
        }
        Ok(())
    }
}

/// Control characters are shown as escapes, and not sent to the terminal.
fn printable(text: &str, newline: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str(newline),
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Seconds since 1970 as UTC, down to the millisecond, as Python prints them.
fn time(seconds: f64) -> String {
    // Up to the year 9999.
    if !(0.0..253_402_300_799.0).contains(&seconds) {
        return seconds.to_string();
    }
    let milliseconds = (seconds * 1000.0) as u64;
    let (s, ms) = (milliseconds / 1000, milliseconds % 1000);
    let (year, month, day) = date(s / 86_400);
    let (hour, minute, second) = (s / 3600 % 24, s / 60 % 60, s % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Days since 1970 as year, month and day.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}
