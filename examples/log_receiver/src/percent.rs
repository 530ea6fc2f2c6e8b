//! Python's `format % arguments`, as far as log messages use it: `%s %r %a %d %i %u %x %X %o %f %F
//! %%` with flags, width and precision, and `%(name)s` from a dict.

use serde_pickle::{HashableValue, Value};

use super::repr;

/// The limit of width and precision; Python has none.
const WIDEST: usize = 1000;

/// `None` where Python raises an error, and for what is not supported.
pub fn apply(format: &str, arguments: &Value) -> Option<String> {
    let mut arguments = Arguments::new(arguments);
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = take_name(&mut rest)?;
        let spec = Spec::take(&mut rest)?;
        if spec.kind == '%' {
            out.push('%');
        } else {
            out.push_str(&spec.write(arguments.next(name)?)?);
        }
    }
    out.push_str(rest);
    arguments.are_used_up().then_some(out)
}

/// A tuple's items in order; or a dict's by name, and the dict itself without one.
struct Arguments<'a> {
    all: &'a Value,
    used: usize,
}

impl<'a> Arguments<'a> {
    fn new(all: &'a Value) -> Self {
        Arguments { all, used: 0 }
    }

    fn next(&mut self, name: Option<&str>) -> Option<&'a Value> {
        match (self.all, name) {
            (Value::Dict(items), Some(name)) => items.get(&HashableValue::String(name.to_owned())),
            (_, Some(_)) => None,
            (all, None) => {
                self.used += 1;
                match all {
                    Value::Tuple(items) => items.get(self.used - 1),
                    single => (self.used == 1).then_some(single),
                }
            }
        }
    }

    fn are_used_up(&self) -> bool {
        match self.all {
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

    fn write(&self, value: &Value) -> Option<String> {
        match self.kind {
            's' => Some(self.pad_text(repr::text(value))),
            'r' => Some(self.pad_text(repr::repr(value))),
            'a' => Some(self.pad_text(ascii(&repr::repr(value)))),
            'd' | 'i' | 'u' => self.pad_whole("", decimal(value)?),
            'x' => self.pad_whole("0x", hexadecimal(value)?),
            'X' => self.pad_whole("0X", hexadecimal(value)?.to_uppercase()),
            'o' => self.pad_whole("0o", octal(value)?),
            'f' | 'F' => Some(self.pad_number("", &self.fixed(value)?)),
            _ => None,
        }
    }

    fn pad_text(&self, text: String) -> String {
        let most = self.precision.unwrap_or(usize::MAX);
        let text: String = text.chars().take(most).collect();
        match self.left {
            true => format!("{text:<0$}", self.width),
            false => format!("{text:>0$}", self.width),
        }
    }

    fn pad_whole(&self, prefix: &str, number: String) -> Option<String> {
        let (sign, digits) = split_sign(&number);
        let number = format!("{sign}{digits:0>0$}", self.precision.unwrap_or(0));
        Some(self.pad_number(if self.prefix { prefix } else { "" }, &number))
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

    fn fixed(&self, value: &Value) -> Option<String> {
        let number = match value {
            Value::F64(number) => *number,
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

fn decimal(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::I64(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::F64(value) if value.is_finite() => {
            // No "-0" for a truncated fraction.
            let text = format!("{:.0}", value.trunc());
            Some(if text == "-0" { "0".to_owned() } else { text })
        }
        _ => None,
    }
}

fn hexadecimal(value: &Value) -> Option<String> {
    match value {
        Value::Int(value) => Some(format!("{value:x}")),
        other => whole(other).map(|(sign, digits)| format!("{sign}{digits:x}")),
    }
}

fn octal(value: &Value) -> Option<String> {
    match value {
        Value::Int(value) => Some(format!("{value:o}")),
        other => whole(other).map(|(sign, digits)| format!("{sign}{digits:o}")),
    }
}

/// Sign and size: Python writes `-ff` where Rust would write the two's complement.
fn whole(value: &Value) -> Option<(&'static str, u64)> {
    match value {
        Value::Bool(value) => Some(("", u64::from(*value))),
        Value::I64(value) if *value < 0 => Some(("-", value.unsigned_abs())),
        Value::I64(value) => Some(("", value.unsigned_abs())),
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
