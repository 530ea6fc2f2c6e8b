//! Texts: as pickles escape them, and of limited length.

use std::fmt;

/// A text of limited length. Writing more than fits is an error, and writes what fits.
pub struct Limited {
    text: String,
    max_len: usize,
}

impl Limited {
    /// With a limit in bytes.
    pub fn new(max_len: usize) -> Self {
        Limited {
            text: String::new(),
            max_len,
        }
    }

    /// How many bytes still fit.
    pub fn left(&self) -> usize {
        self.max_len - self.text.len()
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(self.left());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&text[..end]);
        if end < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// A text in quotes with Python's escapes, as in protocol 0 of Python 2.
pub fn unescape(line: &[u8]) -> Option<String> {
    let quoted = line.strip_prefix(b"'").and_then(|l| l.strip_suffix(b"'"));
    let quoted = quoted.or_else(|| line.strip_prefix(b"\"")?.strip_suffix(b"\""));
    let mut bytes = quoted.unwrap_or(line).iter().copied();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'a' => 7,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                b'x' => hexadecimal(&mut bytes, 2)?.try_into().ok()?,
                other => other,
            },
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Latin-1, with `\uXXXX` and `\UXXXXXXXX` for other characters.
pub fn raw_unicode(line: &[u8]) -> String {
    let mut bytes = line.iter().copied();
    let mut out = String::new();
    while let Some(byte) = bytes.next() {
        let mut behind = bytes.clone();
        let digits = match (byte, behind.next()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(byte.into());
                continue;
            }
        };
        let code = hexadecimal(&mut behind, digits).and_then(char::from_u32);
        out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
        bytes = behind;
    }
    out
}

fn hexadecimal(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    let mut value: u32 = 0;
    for _ in 0..digits {
        let digit = char::from(bytes.next()?).to_digit(16)?;
        value = value.checked_mul(16)?.checked_add(digit)?;
    }
    Some(value)
}
