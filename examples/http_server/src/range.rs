use std::ops::RangeInclusive;

/// What a `Range` field asks of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it: there is no field, or one that a server may ignore.
    Whole,
    /// These bytes.
    Part(RangeInclusive<u64>),
    /// A range after the end of the file.
    Beyond,
}

impl Range {
    /// The range for a file of this length. A field with several ranges is ignored, as a server may
    /// (RFC 9110, 14.2).
    pub fn new(field: Option<&str>, length: u64) -> Self {
        let Some((first, last)) = field.and_then(ends) else {
            return Range::Whole;
        };
        let (first, last) = match (first, last) {
            (None, None) => return Range::Whole,
            (Some(first), Some(last)) if last < first => return Range::Whole,
            (None, Some(0)) => return Range::Beyond,
            (None, Some(count)) => (length.saturating_sub(count), u64::MAX),
            (Some(first), last) => (first, last.unwrap_or(u64::MAX)),
        };
        if first >= length {
            return Range::Beyond;
        }
        Range::Part(first..=last.min(length - 1))
    }
}

/// The numbers on both sides of the dash.
fn ends(field: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = field.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    unit.eq_ignore_ascii_case("bytes")
        .then(|| Some((number(first)?, number(last)?)))?
}

/// `Some(None)` for an empty text, `None` if it is not a number.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
}
