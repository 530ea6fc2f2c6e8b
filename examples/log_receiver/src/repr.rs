//! Python values as Python writes them.

use std::fmt::{self, Write};

use super::value::{Id, Value, Values};

/// What is nested more deeply is written as `...`.
const MAX_DEPTH: usize = 200;

/// Python's `str(value)`.
pub fn write_str(out: &mut dyn Write, values: &Values<'_>, id: Id) -> fmt::Result {
    match &values[id] {
        Value::Text(text) => out.write_str(text),
        _ => write_repr(out, values, id),
    }
}

/// Python's `repr(value)`.
pub fn write_repr(out: &mut dyn Write, values: &Values<'_>, id: Id) -> fmt::Result {
    Repr { out, values }.value(id, 0)
}

/// Whether Python's `if args:` is false.
pub fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Tuple(items) | Value::List(items) => items.is_empty(),
        Value::Dict(items) => items.is_empty(),
        _ => false,
    }
}

struct Repr<'a> {
    out: &'a mut dyn Write,
    values: &'a Values<'a>,
}

impl Repr<'_> {
    fn value(&mut self, id: Id, depth: usize) -> fmt::Result {
        if depth > MAX_DEPTH {
            return self.out.write_str("...");
        }
        match &self.values[id] {
            Value::None | Value::Callable(_) => self.out.write_str("None"),
            Value::Bool(true) => self.out.write_str("True"),
            Value::Bool(false) => self.out.write_str("False"),
            Value::Int(number) => write!(self.out, "{number}"),
            Value::Float(number) => self.out.write_str(&float(*number)),
            Value::Text(text) => {
                let quote = quote(text.contains('\''), text.contains('"'));
                write_quoted(self.out, text.chars(), quote, false)
            }
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::ByteArray(bytes) => {
                self.out.write_str("bytearray(")?;
                self.bytes(bytes)?;
                self.out.write_str(")")
            }
            Value::List(items) => self.items("[", items, "]", depth),
            Value::Tuple(items) if items.len() == 1 => self.items("(", items, ",)", depth),
            Value::Tuple(items) => self.items("(", items, ")", depth),
            Value::Set(items) if items.is_empty() => self.out.write_str("set()"),
            Value::Set(items) => self.items("{", items, "}", depth),
            Value::FrozenSet(items) if items.is_empty() => self.out.write_str("frozenset()"),
            Value::FrozenSet(items) => self.items("frozenset({", items, "})", depth),
            Value::Dict(items) => self.dict(items, depth),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        self.out.write_str("b")?;
        let quote = quote(bytes.contains(&b'\''), bytes.contains(&b'"'));
        let characters = bytes.iter().copied().map(char::from);
        write_quoted(self.out, characters, quote, true)
    }

    fn items(&mut self, begin: &str, items: &[Id], end: &str, depth: usize) -> fmt::Result {
        self.out.write_str(begin)?;
        for (n, item) in items.iter().enumerate() {
            self.out.write_str(if n == 0 { "" } else { ", " })?;
            self.value(*item, depth + 1)?;
        }
        self.out.write_str(end)
    }

    fn dict(&mut self, items: &[(Id, Id)], depth: usize) -> fmt::Result {
        self.out.write_str("{")?;
        for (n, (key, value)) in items.iter().enumerate() {
            self.out.write_str(if n == 0 { "" } else { ", " })?;
            self.value(*key, depth + 1)?;
            self.out.write_str(": ")?;
            self.value(*value, depth + 1)?;
        }
        self.out.write_str("}")
    }
}

/// The shortest digits that read back as the same number, as in Rust, with Python's exponent.
fn float(number: f64) -> String {
    let text = format!("{number:?}").replace("NaN", "nan");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{}e{sign}{exponent:0>2}", digits.trim_end_matches(".0"))
        }
        None => text,
    }
}

fn quote(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn write_quoted(
    out: &mut dyn Write,
    characters: impl Iterator<Item = char>,
    quote: char,
    bytes: bool,
) -> fmt::Result {
    out.write_char(quote)?;
    for c in characters {
        match (c, u32::from(c)) {
            ('\\' | '\n' | '\r' | '\t', _) => write!(out, "{}", c.escape_default())?,
            _ if c == quote => write!(out, "\\{c}")?,
            _ if is_printable(c, bytes) => out.write_char(c)?,
            (_, code @ ..=0xff) => write!(out, "\\x{code:02x}")?,
            (_, code @ ..=0xffff) => write!(out, "\\u{code:04x}")?,
            (_, code) => write!(out, "\\U{code:08x}")?,
        }
    }
    out.write_char(quote)
}

fn is_printable(c: char, bytes: bool) -> bool {
    match c {
        ' '..='~' => true,
        _ if bytes || c.is_whitespace() => false,
        _ => !c.is_control() && !c.escape_debug().to_string().starts_with("\\u"),
    }
}
