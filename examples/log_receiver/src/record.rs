//! One log record, and how it is printed.

use std::fmt::{self, Write};

use super::text::Limited;
use super::value::{Id, Value, item};
use super::{percent, repr};

/// A `logging.LogRecord`. Any of its attributes may be missing.
pub struct Record<'a> {
    values: Vec<Value<'a>>,
    attributes: Vec<(Id, Id)>,
}

impl<'a> Record<'a> {
    /// `None` if the value is not a dict.
    pub fn new(mut values: Vec<Value<'a>>, id: Id) -> Option<Self> {
        let Value::Dict(attributes) = &mut values[id] else {
            return None;
        };
        let attributes = std::mem::take(attributes);
        Some(Record { values, attributes })
    }

    /// `TIME LEVEL LOGGER: MESSAGE`, and the traceback after it if there is one. Further lines are
    /// indented, so that one record cannot look like two. What is longer than `max_len` bytes is cut off.
    pub fn line(&self, max_len: usize) -> String {
        let mut line = Limited::new(max_len);
        let complete = self.write(&mut line);
        let end = if complete.is_ok() { "" } else { " [cut off]" };
        line.into_string() + end
    }

    fn write(&self, line: &mut Limited) -> fmt::Result {
        let max_len = line.left();
        let text = |name| self.text(name, max_len);
        let (level, name) = (text("levelname"), text("name"));
        write!(line, "{} ", self.time())?;
        write_printable(line, level.as_str(), "\\n")?;
        line.write_str(" ")?;
        write_printable(line, name.as_str(), "\\n")?;
        line.write_str(": ")?;
        write_printable(line, self.message(max_len).as_str(), NEW_LINE)?;
        for more in ["exc_text", "stack_info"] {
            if self.get(more).is_some() {
                line.write_str(NEW_LINE)?;
                write_printable(line, text(more).as_str(), NEW_LINE)?;
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<Id> {
        let id = item(&self.values, &self.attributes, name)?;
        (!matches!(self.values[id], Value::None)).then_some(id)
    }

    fn text(&self, name: &str, max_len: usize) -> Limited {
        let mut text = Limited::new(max_len);
        let _ = match self.get(name) {
            Some(id) => repr::write_str(&mut text, &self.values, id),
            None => text.write_str("-"),
        };
        text
    }

    /// The message with its arguments; the two next to each other if they do not fit.
    fn message(&self, max_len: usize) -> Limited {
        let message = self.text("msg", max_len);
        let Some(arguments) = self.get("args") else {
            return message;
        };
        if repr::is_empty(&self.values[arguments]) {
            return message;
        }
        let mut text = Limited::new(max_len);
        let applied = percent::apply(&mut text, message.as_str(), &self.values, arguments);
        match applied {
            Ok(()) | Err(percent::Error::Full) => text,
            Err(percent::Error::Misfit) => {
                let mut text = message;
                let _ = text
                    .write_str(" ")
                    .and_then(|()| repr::write_repr(&mut text, &self.values, arguments));
                text
            }
        }
    }

    fn time(&self) -> String {
        match self.get("created").map(|id| &self.values[id]) {
            Some(Value::Float(seconds)) => time(*seconds),
            Some(Value::Int(seconds)) => {
                i64::try_from(seconds).map_or("-".to_owned(), |s| time(s as f64))
            }
            _ => "-".to_owned(),
        }
    }
}

/// The beginning of a record's further lines.
const NEW_LINE: &str = "\n    ";

/// Writes what a terminal would not print as escapes, but not quotes, backslashes and tabs.
fn write_printable(out: &mut Limited, text: &str, new_line: &str) -> fmt::Result {
    const PLAIN: [char; 5] = ['\n', '\t', '\\', '\'', '"'];
    for part in text.split_inclusive(PLAIN) {
        let body = part.trim_end_matches(PLAIN);
        write!(out, "{}", body.escape_debug())?;
        out.write_str(match &part[body.len()..] {
            "\n" => new_line,
            end => end,
        })?;
    }
    Ok(())
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
