//! Commands as people type them: words on a line, with quotes as in `redis-cli`.

use std::iter::Peekable;
use std::slice::Iter;

type Bytes<'a> = Peekable<Iter<'a, u8>>;

/// The words of a line; `None` if a quote is not closed, or not followed by a blank.
pub fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut bytes = line.iter().peekable();
    let mut words = Vec::new();
    loop {
        while bytes.next_if(|byte| byte.is_ascii_whitespace()).is_some() {}
        if bytes.peek().is_none() {
            return Some(words);
        }
        words.push(word(&mut bytes)?);
    }
}

fn word(bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    while let Some(byte) = bytes.next_if(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'"' => double_quoted(bytes, &mut word)?,
            b'\'' => single_quoted(bytes, &mut word)?,
            other => {
                word.push(*other);
                continue;
            }
        }
        if bytes.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return None;
        }
    }
    Some(word)
}

fn double_quoted(bytes: &mut Bytes<'_>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'"' => return Some(()),
            b'\\' => word.push(escaped(bytes)?),
            other => word.push(*other),
        }
    }
}

fn single_quoted(bytes: &mut Bytes<'_>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'\'' => return Some(()),
            b'\\' if bytes.next_if_eq(&&b'\'').is_some() => word.push(b'\''),
            other => word.push(*other),
        }
    }
}

/// The byte after a backslash: a letter for a control character, `xHH`, or any other character, which
/// is taken literally.
fn escaped(bytes: &mut Bytes<'_>) -> Option<u8> {
    Some(match bytes.next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        b'x' => hexadecimal(bytes).unwrap_or(b'x'),
        other => *other,
    })
}

/// Takes two digits, or nothing.
fn hexadecimal(bytes: &mut Bytes<'_>) -> Option<u8> {
    let mut ahead = bytes.clone();
    let mut digit = || char::from(*ahead.next()?).to_digit(16);
    let value = digit()? * 16 + digit()?;
    *bytes = ahead;
    u8::try_from(value).ok()
}
