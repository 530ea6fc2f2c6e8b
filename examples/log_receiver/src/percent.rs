//! Python's `format % arguments`, as far as log messages use it: `%s %r %a %d %i %u %x %X %o %f %F
//! %%` with flags, width and precision, and `%(name)s` from a dict.

use std::fmt::{self, Write};

use num_bigint::BigInt;

use super::repr;
use super::text::Limited;
use super::value::{Id, Value, Values, item};

/// The limit of width and precision; Python has none.
const WIDEST: usize = 1000;
/// The limit of conversions in one format; Python has none.
const MAX_CONVERSIONS: usize = 256;

pub enum Error {
    /// Python raises an error, or it is not supported.
    Misfit,
    /// The output is full.
    Full,
}

impl From<fmt::Error> for Error {
    fn from(_: fmt::Error) -> Self {
        Error::Full
    }
}

/// Writes the text. After an error a part of it is written.
pub fn apply(
    out: &mut Limited,
    format: &str,
    values: &Values<'_>,
    arguments: Id,
) -> Result<(), Error> {
    let mut arguments = Arguments::new(values, arguments);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.write_str(&rest[..at])?;
        rest = &rest[at + 1..];
        let name = take_name(&mut rest).ok_or(Error::Misfit)?;
        let spec = Spec::take(&mut rest).ok_or(Error::Misfit)?;
        if spec.kind == '%' {
            out.write_char('%')?;
        } else {
            let value = arguments.next(name).ok_or(Error::Misfit)?;
            spec.write(out, values, value)?;
        }
    }
    out.write_str(rest)?;
    arguments.are_used_up().then_some(()).ok_or(Error::Misfit)
}

/// A tuple's items in order; or a dict's by name, and the dict itself without one.
struct Arguments<'a> {
    values: &'a Values<'a>,
    all: Id,
    used: usize,
}

impl<'a> Arguments<'a> {
    fn new(values: &'a Values<'a>, all: Id) -> Self {
        Arguments {
            values,
            all,
            used: 0,
        }
    }

    fn next(&mut self, name: Option<&str>) -> Option<Id> {
        self.used += 1;
        match (&self.values[self.all], name) {
            _ if self.used > MAX_CONVERSIONS => None,
            (Value::Dict(items), Some(name)) => item(self.values, items, name),
            (_, Some(_)) => None,
            (Value::Tuple(items), None) => items.get(self.used - 1).copied(),
            (_, None) => (self.used == 1).then_some(self.all),
        }
    }

    fn are_used_up(&self) -> bool {
        match &self.values[self.all] {
            Value::Tuple(items) => self.used == items.len(),
            Value::Dict(_) => true,
            _ => self.used == 1,
        }
    }
}

fn take_name<'a>(rest: &mut &'a str) -> Option<Option<&'a str>> {
    let Some(inside) = rest.strip_prefix('(') else {
        return Some(None);
    };
    let (name, behind) = inside.split_once(')')?;
    *rest = behind;
    Some(Some(name))
}

/// What is between `%` and its letter, and the letter.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    prefix: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

impl Spec {
    fn take(rest: &mut &str) -> Option<Spec> {
        let mut spec = Spec::default();
        while let Some(flag) = rest.chars().next().filter(|c| "-0+ #".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                _ => spec.prefix = true,
            }
            *rest = &rest[1..];
        }
        spec.width = take_number(rest)?;
        if let Some(behind) = rest.strip_prefix('.') {
            *rest = behind;
            spec.precision = Some(take_number(rest)?);
        }
        *rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        spec.kind = rest.chars().next()?;
        *rest = &rest[spec.kind.len_utf8()..];
        Some(spec)
    }

    fn write(&self, out: &mut Limited, values: &Values<'_>, id: Id) -> Result<(), Error> {
        let value = &values[id];
        let number = match self.kind {
            's' | 'r' | 'a' => return Ok(self.write_text(out, values, id)?),
            'd' | 'i' | 'u' => decimal(value).map(|number| self.pad_whole("", number)),
            'x' => whole(value).map(|number| self.pad_whole("0x", format!("{number:x}"))),
            'X' => whole(value).map(|number| self.pad_whole("0X", format!("{number:X}"))),
            'o' => whole(value).map(|number| self.pad_whole("0o", format!("{number:o}"))),
            'f' | 'F' => self.fixed(value).map(|text| self.pad_number("", &text)),
            _ => None,
        };
        Ok(out.write_str(&number.ok_or(Error::Misfit)?)?)
    }

    /// No more of the text is made than is written.
    fn write_text(&self, out: &mut Limited, values: &Values<'_>, id: Id) -> fmt::Result {
        let most = self.precision.unwrap_or(usize::MAX);
        let mut text = Limited::new(out.left().min(most.saturating_mul(4)));
        // An error means that it is longer: what has been written is enough.
        let _ = match self.kind {
            's' => repr::write_str(&mut text, values, id),
            _ => repr::write_repr(&mut text, values, id),
        };
        let text = match self.kind {
            'a' => ascii(text.as_str()),
            _ => text.into_string(),
        };
        let end = text
            .char_indices()
            .nth(most)
            .map_or(text.len(), |(at, _)| at);
        match self.left {
            true => write!(out, "{:<1$}", &text[..end], self.width),
            false => write!(out, "{:>1$}", &text[..end], self.width),
        }
    }

    fn pad_whole(&self, prefix: &str, number: String) -> String {
        let (sign, digits) = split_sign(&number);
        let number = format!("{sign}{digits:0>0$}", self.precision.unwrap_or(0));
        self.pad_number(if self.prefix { prefix } else { "" }, &number)
    }

    /// The zeros of `%05d` go between the sign and the digits.
    fn pad_number(&self, prefix: &str, number: &str) -> String {
        let (sign, digits) = split_sign(number);
        let sign = match sign {
            "" if self.plus => "+",
            "" if self.space => " ",
            sign => sign,
        };
        let front = format!("{sign}{prefix}");
        if self.left {
            format!(
                "{front}{digits:<0$}",
                self.width.saturating_sub(front.len())
            )
        } else if self.zero {
            format!(
                "{front}{digits:0>0$}",
                self.width.saturating_sub(front.len())
            )
        } else {
            format!("{:>1$}", format!("{front}{digits}"), self.width)
        }
    }

    fn fixed(&self, value: &Value<'_>) -> Option<String> {
        let number = match value {
            Value::Float(number) => *number,
            whole => decimal(whole)?.parse().ok()?,
        };
        let text = format!("{number:.0$}", self.precision.unwrap_or(6));
        Some(match self.kind {
            'F' => text.to_uppercase(),
            _ => text.to_lowercase(),
        })
    }
}

fn take_number(rest: &mut &str) -> Option<usize> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, behind) = rest.split_at(end);
    *rest = behind;
    let number = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    (number <= WIDEST).then_some(number)
}

fn split_sign(number: &str) -> (&str, &str) {
    number.split_at(number.starts_with('-').into())
}

fn decimal(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Float(value) if value.is_finite() => {
            // No "-0" for a truncated fraction.
            let text = format!("{:.0}", value.trunc());
            Some(if text == "-0" { "0".to_owned() } else { text })
        }
        other => whole(other).map(|number| number.to_string()),
    }
}

fn whole(value: &Value<'_>) -> Option<BigInt> {
    match value {
        Value::Bool(value) => Some(u8::from(*value).into()),
        Value::Int(value) => Some(value.clone()),
        _ => None,
    }
}

fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match u32::from(c) {
            0..=0x7f => out.push(c),
            code @ ..=0xff => out.push_str(&format!("\\x{code:02x}")),
            code @ ..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}
