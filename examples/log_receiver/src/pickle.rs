//! Unpickles data that is not trusted.
//!
//! No code is run. The memory for the values is about that of the pickle, whatever it says: texts are
//! parts of the pickle, and what is used again is not copied.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str;

use num_bigint::BigInt;

use super::record::Record;
use super::text;
use super::value::{Callable, Id, Value};

/// The limit of instructions. Python's own records have about 100, and four more for each item of a dict.
const MAX_INSTRUCTIONS: usize = 200_000;
/// The limit of a whole number in bytes, and in digits: converting it takes time that grows with their square.
const MAX_NUMBER: u64 = 1024;
const MAX_DIGITS: usize = 2500;
/// The limit of all that calls convert or copy, in bytes: as much as the longest record.
const MAX_CONVERTED: usize = 1 << 20;

const INVALID: &str = "the pickle is invalid";

/// The record in a pickle. Objects that are not plain data become `None` or their state.
pub fn load(data: &[u8]) -> Result<Record<'_>, String> {
    let mut unpickler = Unpickler {
        rest: data,
        convertible: MAX_CONVERTED,
        ..Unpickler::default()
    };
    for _ in 0..MAX_INSTRUCTIONS {
        match unpickler.take(1)?[0] {
            b'.' => {
                let id = unpickler.pop()?;
                return Record::new(unpickler.values, id).ok_or("the pickle is not a dict".into());
            }
            code => unpickler.run(code)?,
        }
    }
    Err(format!("over {MAX_INSTRUCTIONS} instructions"))
}

#[derive(Default)]
struct Unpickler<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// The stack's length at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    convertible: usize,
}

impl<'a> Unpickler<'a> {
    fn run(&mut self, code: u8) -> Result<(), String> {
        match code {
            // The version, and a frame's length.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'p' | b'q' | b'r' | 0x94 => {
                let key = self.key(code)?;
                self.memo.insert(key, self.top()?);
            }
            b'g' | b'h' | b'j' => {
                let key = self.key(code)?;
                let id = self.memo.get(&key).copied();
                self.stack.push(id.ok_or(INVALID)?);
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(code)?,
            b'c' | 0x93 => {
                let global = self.global(code)?;
                self.push(global);
            }
            b'R' | b'i' | b'o' | 0x81 | 0x92 | b'b' => self.object(code)?,
            b')' | 0x85..=0x87 | b't' | b']' | b'l' | b'}' | b'd' | 0x8f | 0x91 => {
                let container = self.container(code)?;
                self.push(container);
            }
            _ => {
                let plain = self.plain(code)?;
                self.push(plain);
            }
        }
        Ok(())
    }

    fn plain(&mut self, code: u8) -> Result<Value<'a>, String> {
        Ok(match code {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(code == 0x88),
            b'K' => integer(self.take(1)?),
            b'M' => integer(self.take(2)?),
            b'J' => Value::Int(BigInt::from_signed_bytes_le(self.take(4)?)),
            0x8a => Value::Int(BigInt::from_signed_bytes_le(self.prefixed(1)?)),
            0x8b => {
                let length = little_endian(self.take(4)?);
                if length > MAX_NUMBER {
                    return Err(format!("a number of {length} bytes is too long"));
                }
                Value::Int(BigInt::from_signed_bytes_le(self.take(length as usize)?))
            }
            b'I' | b'L' | b'F' => number(code, self.line()?)?,
            b'G' => Value::Float(f64::from_be_bytes(
                self.take(8)?.try_into().map_err(|_| INVALID)?,
            )),
            b'S' => Value::Text(text::unescape(self.line()?).ok_or(INVALID)?.into()),
            b'V' => Value::Text(text::raw_unicode(self.line()?).into()),
            b'U' | 0x8c => Value::Text(String::from_utf8_lossy(self.prefixed(1)?)),
            b'T' | b'X' => Value::Text(String::from_utf8_lossy(self.prefixed(4)?)),
            0x8d => Value::Text(String::from_utf8_lossy(self.prefixed(8)?)),
            b'C' => Value::Bytes(self.prefixed(1)?.into()),
            b'B' => Value::Bytes(self.prefixed(4)?.into()),
            0x8e => Value::Bytes(self.prefixed(8)?.into()),
            0x96 => Value::ByteArray(self.prefixed(8)?.into()),
            _ => return Err(format!("instruction {code:#04x} has no place in a record")),
        })
    }

    fn container(&mut self, code: u8) -> Result<Value<'a>, String> {
        Ok(match code {
            b')' => Value::Tuple(Vec::new()),
            0x85..=0x87 => {
                let length = usize::from(code - 0x84);
                let start = self.stack.len().checked_sub(length).ok_or(INVALID)?;
                if self.marks.last().is_some_and(|mark| start < *mark) {
                    return Err(INVALID.into());
                }
                Value::Tuple(self.stack.split_off(start))
            }
            b't' => Value::Tuple(self.pop_to_mark()?),
            b']' => Value::List(Vec::new()),
            b'l' => Value::List(self.pop_to_mark()?),
            b'}' => Value::Dict(Vec::new()),
            b'd' => Value::Dict(pairs(&self.pop_to_mark()?)),
            0x8f => Value::Set(Vec::new()),
            _ => Value::FrozenSet(self.pop_to_mark()?),
        })
    }

    /// Adds one item or all above the mark to the container below.
    fn fill(&mut self, code: u8) -> Result<(), String> {
        let more = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let id = self.top()?;
        match (&mut self.values[id], code) {
            (Value::List(items), b'a' | b'e') | (Value::Set(items), 0x90) => items.extend(more),
            (Value::Dict(items), b's' | b'u') => items.extend(pairs(&more)),
            // An object's items are not plain data.
            (Value::None, _) => {}
            _ => return Err(INVALID.into()),
        }
        Ok(())
    }

    /// A class or a function, by its name.
    fn global(&mut self, code: u8) -> Result<Value<'a>, String> {
        if code == b'c' {
            return Ok(callable(self.line()?, self.line()?));
        }
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.values[module], &self.values[name]) {
            (Value::Text(module), Value::Text(name)) => {
                Ok(callable(module.as_bytes(), name.as_bytes()))
            }
            _ => Err(INVALID.into()),
        }
    }

    fn object(&mut self, code: u8) -> Result<(), String> {
        let mut made = Value::None;
        match code {
            b'R' => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                made = self.call(called, arguments)?;
            }
            b'i' => {
                let _class = (self.line()?, self.line()?);
                self.pop_to_mark()?;
            }
            b'o' => drop(self.pop_to_mark()?),
            // The class and the arguments of its `__new__`, in one or in two parts.
            0x81 | 0x92 => {
                for _ in 0..if code == 0x81 { 2 } else { 3 } {
                    self.pop()?;
                }
            }
            // The state takes the object's place.
            _ => {
                let state = self.pop()?;
                self.pop()?;
                self.stack.push(state);
                return Ok(());
            }
        }
        self.push(made);
        Ok(())
    }

    /// The result of a call, which pickles need for bytes and sets.
    fn call(&mut self, called: Id, arguments: Id) -> Result<Value<'a>, String> {
        let Value::Callable(callable) = self.values[called] else {
            return Ok(Value::None);
        };
        let argument = match &self.values[arguments] {
            Value::Tuple(items) => items.first().map(|id| &self.values[*id]),
            _ => return Err(INVALID.into()),
        };
        let left = self.convertible.checked_sub(argument.map_or(0, size));
        self.convertible = left.ok_or(format!("over {MAX_CONVERTED} bytes are converted"))?;
        Ok(match (callable, argument) {
            // Bytes are in old pickles as a text of as many characters.
            (Callable::Bytes, Some(Value::Text(text))) => Value::Bytes(latin_1(text)),
            (Callable::Bytes, None) => Value::Bytes(Cow::default()),
            (Callable::ByteArray, Some(Value::Text(text))) => Value::ByteArray(latin_1(text)),
            (Callable::ByteArray, Some(Value::Bytes(bytes))) => Value::ByteArray(bytes.clone()),
            (Callable::ByteArray, None) => Value::ByteArray(Cow::default()),
            (Callable::List, Some(Value::List(items))) => Value::List(items.clone()),
            (Callable::Set, Some(Value::List(items))) => Value::Set(items.clone()),
            (Callable::FrozenSet, Some(Value::List(items))) => Value::FrozenSet(items.clone()),
            _ => Value::None,
        })
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn top(&self) -> Result<Id, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        let top = self.stack[bottom..].last().copied();
        top.ok_or(INVALID.into())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or(INVALID)?;
        Ok(self.stack.split_off(mark))
    }

    /// The memo's key for an instruction that puts or gets.
    fn key(&mut self, code: u8) -> Result<u32, String> {
        let key = match code {
            b'p' | b'g' => str::from_utf8(self.line()?).map_or(None, |text| text.parse().ok()),
            b'q' | b'h' => Some(self.take(1)?[0].into()),
            0x94 => self.memo.len().try_into().ok(),
            _ => little_endian(self.take(4)?).try_into().ok(),
        };
        key.ok_or(INVALID.into())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("the pickle is truncated")?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or("the pickle is truncated")? + 1)?;
        Ok(&line[..line.len() - 1])
    }

    fn prefixed(&mut self, prefix: usize) -> Result<&'a [u8], String> {
        let length = little_endian(self.take(prefix)?);
        self.take(length.try_into().unwrap_or(usize::MAX))
    }
}

fn callable(module: &[u8], name: &[u8]) -> Value<'static> {
    Value::Callable(match (module, name) {
        (b"_codecs", b"encode") | (b"builtins" | b"__builtin__", b"bytes") => Callable::Bytes,
        (b"builtins" | b"__builtin__", b"bytearray") => Callable::ByteArray,
        (b"builtins" | b"__builtin__", b"frozenset") => Callable::FrozenSet,
        (b"builtins" | b"__builtin__", b"list") => Callable::List,
        (b"builtins" | b"__builtin__", b"set") => Callable::Set,
        _ => return Value::None,
    })
}

/// The bytes that a copy takes.
fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.len(),
        Value::List(items) => items.len() * size_of::<Id>(),
        _ => 0,
    }
}

fn latin_1(text: &str) -> Cow<'static, [u8]> {
    text.chars().map(|c| c as u8).collect()
}

fn integer(bytes: &[u8]) -> Value<'static> {
    Value::Int(little_endian(bytes).into())
}

/// `I`, where 00 and 01 are False and True, `L` with an L at the end, or `F`.
fn number(code: u8, line: &[u8]) -> Result<Value<'static>, String> {
    let text = str::from_utf8(line).unwrap_or_default().trim();
    let value = match (code, text) {
        _ if text.len() > MAX_DIGITS => None,
        (b'I', "00" | "01") => Some(Value::Bool(text == "01")),
        (b'F', _) => text.parse().ok().map(Value::Float),
        _ => text.trim_end_matches('L').parse().ok().map(Value::Int),
    };
    value.ok_or("a number is invalid or too long".into())
}

fn pairs(ids: &[Id]) -> Vec<(Id, Id)> {
    let pairs = ids.chunks_exact(2);
    pairs.map(|pair| (pair[0], pair[1])).collect()
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u64::from(*byte))
}
