//! Unpickles data that is not trusted.
//!
//! The crate `serde-pickle` runs no code, but it follows the pickle's instructions: a hundred bytes can
//! make it copy a list into itself until the memory is full, and 20,000 nest lists until the stack
//! overflows. So a pickle is checked first, and refused if it does what no log record does.

use std::collections::{BTreeMap, HashMap};
use std::str;

use serde_pickle::{DeOptions, HashableValue, Value, value_from_slice};

pub type Attributes = BTreeMap<HashableValue, Value>;

/// Limits for one record. Python's own records come with about 100 instructions and 3 containers.
const MAX_INSTRUCTIONS: usize = 10_000;
/// Each container could be inside the one before; unpacking them recurses.
const MAX_CONTAINERS: usize = 256;
/// A text that is used again becomes a copy: this is the limit of all copies, in bytes.
const MAX_COPIED: usize = 1 << 20;
/// A container is copied with all that is in it, which may be nearly the whole record.
const MAX_CONTAINERS_COPIED: usize = 16;
/// The digits of a number: converting them takes time that grows with their square.
const MAX_DIGITS: usize = 1000;

/// The attributes of a record. Objects that are not plain data become `None` or their state.
pub fn load(data: &[u8]) -> Result<Attributes, String> {
    Screen::default().pass(data)?;
    let options = DeOptions::new()
        .decode_strings()
        .replace_unresolved_globals()
        .replace_recursive_structures();
    match value_from_slice(data, options) {
        Ok(Value::Dict(attributes)) => Ok(attributes),
        Ok(_) => Err("the pickle is not a dict".to_owned()),
        // The error may quote the pickle at length.
        Err(error) => Err(error.to_string().escape_debug().take(200).collect()),
    }
}

#[derive(Default)]
struct Screen {
    instructions: usize,
    containers: usize,
    copied: usize,
    containers_copied: usize,
    /// The memo: the length of a text, a number or a name, or `None` for a container.
    memo: HashMap<u32, Option<usize>>,
    /// The same for what the last instruction made.
    last: Option<usize>,
}

impl Screen {
    fn pass(mut self, mut rest: &[u8]) -> Result<(), String> {
        while let Some(code) = take(&mut rest, 1) {
            self.instructions += 1;
            if self.instructions > MAX_INSTRUCTIONS {
                return Err(format!("over {MAX_INSTRUCTIONS} instructions"));
            }
            if code == b"." {
                return Ok(());
            }
            self.last = self.instruction(code[0], &mut rest)?;
        }
        Err("the pickle has no end".to_owned())
    }

    /// Skips one instruction; returns the length of the text or number it makes.
    fn instruction(&mut self, code: u8, rest: &mut &[u8]) -> Result<Option<usize>, String> {
        let argument = argument(code, rest).ok_or("the pickle is truncated")?;
        match code {
            // None, True, False, numbers, texts, and the names of classes.
            b'c' | 0x93 | b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | b'G' | 0x8a | b'S' | b'V'
            | b'U' | b'T' | b'C' | b'B' | b'X' | 0x8c | 0x8d | 0x8e | 0x96 => {
                return Ok(Some(argument.len()));
            }
            b'I' | b'L' | b'F' if argument.len() <= MAX_DIGITS => return Ok(Some(argument.len())),
            b'p' | b'q' | b'r' | 0x94 => self.put(code, argument)?,
            b'g' | b'h' | b'j' => self.get(code, argument)?,
            // Version, frame, mark, pop.
            0x80 | 0x95 | b'(' | b'0' | b'1' => {}
            // Tuples, lists, dicts, sets, objects: making them and filling them.
            b')'
            | 0x85..=0x87
            | b't'
            | b']'
            | b'l'
            | b'a'
            | b'e'
            | b'}'
            | b'd'
            | b's'
            | b'u'
            | 0x8f..=0x92
            | b'R'
            | b'i'
            | b'o'
            | 0x81
            | b'b' => {
                self.containers += 1;
                if self.containers > MAX_CONTAINERS {
                    return Err(format!("over {MAX_CONTAINERS} containers"));
                }
            }
            _ => return Err(format!("instruction {code:#04x} has no place in a record")),
        }
        Ok(None)
    }

    fn put(&mut self, code: u8, argument: &[u8]) -> Result<(), String> {
        let key = match code {
            0x94 => self.memo.len() as u32,
            _ => key(code, argument)?,
        };
        self.memo.insert(key, self.last);
        Ok(())
    }

    fn get(&mut self, code: u8, argument: &[u8]) -> Result<(), String> {
        match self.memo.get(&key(code, argument)?).copied().flatten() {
            Some(length) => self.copied += length,
            None => self.containers_copied += 1,
        }
        if self.copied > MAX_COPIED {
            return Err(format!("over {MAX_COPIED} bytes are copies"));
        }
        if self.containers_copied > MAX_CONTAINERS_COPIED {
            return Err(format!(
                "over {MAX_CONTAINERS_COPIED} containers are copies"
            ));
        }
        Ok(())
    }
}

/// The argument of an instruction: of a fixed length, up to a newline, or after its length.
fn argument<'a>(code: u8, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    match code {
        0x80 | b'K' | b'h' | b'q' => take(rest, 1),
        b'M' => take(rest, 2),
        b'J' | b'j' | b'r' => take(rest, 4),
        b'G' | 0x95 => take(rest, 8),
        b'I' | b'L' | b'F' | b'S' | b'V' | b'p' | b'g' => line(rest),
        b'c' | b'i' => line(rest).and_then(|_module| line(rest)),
        b'U' | b'C' | 0x8c | 0x8a => prefixed(rest, 1),
        b'T' | b'B' | b'X' => prefixed(rest, 4),
        0x8d | 0x8e | 0x96 => prefixed(rest, 8),
        _ => Some(&[]),
    }
}

fn key(code: u8, argument: &[u8]) -> Result<u32, String> {
    let key = match code {
        b'p' | b'g' => str::from_utf8(argument).ok().and_then(|s| s.parse().ok()),
        _ => little_endian(argument).try_into().ok(),
    };
    key.ok_or_else(|| "a memo's key is no number".to_owned())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = take(rest, end + 1)?;
    Some(&line[..end])
}

fn prefixed<'a>(rest: &mut &'a [u8], prefix: usize) -> Option<&'a [u8]> {
    let length = little_endian(take(rest, prefix)?);
    take(rest, length.try_into().ok()?)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u64::from(*byte))
}
