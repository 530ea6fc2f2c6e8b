//! Python values as Python writes them, except that dicts and sets are sorted.

use serde_pickle::{HashableValue, Value};

/// Python's `str(value)`.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// Python's `repr(value)`.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => quoted(bytes.iter().map(|byte| char::from(*byte)), true),
        Value::String(text) => quoted(text.chars(), false),
        Value::F64(number) => float(*number),
        Value::List(items) => format!("[{}]", joined(items.iter().map(repr))),
        Value::Tuple(items) if items.len() == 1 => format!("({},)", repr(&items[0])),
        Value::Tuple(items) => format!("({})", joined(items.iter().map(repr))),
        Value::Set(items) if items.is_empty() => "set()".to_owned(),
        Value::Set(items) => format!("{{{}}}", joined(items.iter().map(key))),
        Value::FrozenSet(items) if items.is_empty() => "frozenset()".to_owned(),
        Value::FrozenSet(items) => format!("frozenset({{{}}})", joined(items.iter().map(key))),
        Value::Dict(items) => {
            let items = items
                .iter()
                .map(|(k, v)| format!("{}: {}", key(k), repr(v)));
            format!("{{{}}}", joined(items))
        }
        // None, True, False and whole numbers.
        plain => plain.to_string(),
    }
}

/// Whether Python's `if args:` is false.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Tuple(items) | Value::List(items) => items.is_empty(),
        Value::Dict(items) => items.is_empty(),
        _ => false,
    }
}

fn key(value: &HashableValue) -> String {
    repr(&value.clone().into_value())
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
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

fn quoted(characters: impl Iterator<Item = char> + Clone, bytes: bool) -> String {
    let has = |wanted| characters.clone().any(|c| c == wanted);
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    let mut out = String::from(if bytes { "b" } else { "" });
    out.push(quote);
    for c in characters {
        match c {
            '\\' | '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c, bytes) => out.push(c),
            c if u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(quote);
    out
}

fn is_printable(c: char, bytes: bool) -> bool {
    match c {
        ' '..='~' => true,
        _ if bytes || c.is_whitespace() => false,
        _ => !c.is_control() && !c.escape_debug().to_string().starts_with("\\u"),
    }
}
