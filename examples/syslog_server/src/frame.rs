//! Messages on a stream: RFC 6587.

use std::io::{self, BufRead, Read};
use std::str;

/// The limit of a message, in bytes; the rest is discarded.
const MAX_LENGTH: usize = 8192;

/// The limit of digits in a length.
const MAX_DIGITS: usize = 6;

pub struct Frame {
    pub data: Vec<u8>,
    /// Whether the message was longer than the limit, or shorter than its length.
    pub truncated: bool,
}

/// The next message: after its length, as `LENGTH <PRIORITY>...`, or ended by a newline or a zero byte.
/// It may be empty.
pub fn read(stream: &mut impl BufRead) -> io::Result<Frame> {
    let mut start = digits(stream)?;
    let length = str::from_utf8(&start).ok().and_then(|s| s.parse().ok());
    if let (Some(length), Some(b' ')) = (length, peek(stream)?) {
        stream.consume(1);
        if peek(stream)? == Some(b'<') {
            return read_counted(stream, length);
        }
        start.push(b' ');
    }
    read_to_end(stream, start)
}

fn digits(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut digits = Vec::new();
    while digits.len() < MAX_DIGITS {
        let Some(digit) = peek(stream)?.filter(u8::is_ascii_digit) else {
            break;
        };
        digits.push(digit);
        stream.consume(1);
    }
    Ok(digits)
}

fn peek(stream: &mut impl BufRead) -> io::Result<Option<u8>> {
    Ok(stream.fill_buf()?.first().copied())
}

fn read_counted(stream: &mut impl BufRead, length: usize) -> io::Result<Frame> {
    let mut data = Vec::new();
    let kept = length.min(MAX_LENGTH);
    stream.take(kept as u64).read_to_end(&mut data)?;
    io::copy(&mut stream.take((length - kept) as u64), &mut io::sink())?;
    let truncated = data.len() < length;
    Ok(Frame { data, truncated })
}

fn read_to_end(stream: &mut impl BufRead, mut data: Vec<u8>) -> io::Result<Frame> {
    let mut truncated = false;
    loop {
        let arrived = stream.fill_buf()?;
        let end = arrived.iter().position(|byte| matches!(byte, b'\n' | 0));
        let part = &arrived[..end.unwrap_or(arrived.len())];
        let kept = part.len().min(MAX_LENGTH - data.len());
        data.extend_from_slice(&part[..kept]);
        truncated |= kept < part.len();
        let is_last = end.is_some() || arrived.is_empty();
        let taken = part.len() + usize::from(end.is_some());
        stream.consume(taken);
        if is_last {
            return Ok(Frame { data, truncated });
        }
    }
}
