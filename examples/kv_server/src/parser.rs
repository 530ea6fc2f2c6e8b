//! Reads commands: arrays of bulk strings (RESP2), or words on a line.

use std::io::{self, BufRead, Read};

use super::inline;
use super::integer::integer;

/// The limit of memory for the words of one command, in bytes, with [`WORD`] for each.
const MAX_LENGTH: usize = 16 << 20;
const WORD: usize = 64;
const MOST_WORDS: i64 = 1 << 18;
const LONGEST_LINE: u64 = 1 << 16;

/// The words of the next command; none for an empty line. Memory is allocated for what has arrived,
/// not for what is announced.
///
/// # Errors
///
/// `InvalidData` for a malformed command, `UnexpectedEof` inside of one, and what the input reports.
pub fn next_command(input: &mut impl BufRead) -> io::Result<Vec<Vec<u8>>> {
    let line = line(input)?;
    match line.strip_prefix(b"*") {
        Some(count) => array(input, count),
        None => inline::words(&line).ok_or_else(|| broken("unbalanced quotes in request")),
    }
}

fn array(input: &mut impl BufRead, count: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let count = integer(count)
        .filter(|count| *count <= MOST_WORDS)
        .ok_or_else(|| broken("invalid multibulk length"))?;
    let mut left = MAX_LENGTH;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = bulk_length(&line(input)?)?;
        left = length
            .checked_add(WORD)
            .and_then(|taken| left.checked_sub(taken))
            .ok_or_else(|| broken("invalid bulk length"))?;
        words.push(bytes(input, length)?);
        if bytes(input, 2)? != b"\r\n" {
            return Err(broken("expected a line's end after a bulk string"));
        }
    }
    Ok(words)
}

fn bulk_length(line: &[u8]) -> io::Result<usize> {
    let Some(length) = line.strip_prefix(b"$") else {
        let got = line.first().unwrap_or(&b'\r').escape_ascii();
        return Err(broken(&format!("expected '$', got '{got}'")));
    };
    let length = integer(length).and_then(|length| length.try_into().ok());
    length.ok_or_else(|| broken("invalid bulk length"))
}

fn line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\n") {
        Some(text) => line.truncate(text.strip_suffix(b"\r").unwrap_or(text).len()),
        None if line.len() as u64 == LONGEST_LINE => return Err(broken("too big inline request")),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(line)
}

fn bytes(input: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let arrived = input.fill_buf()?;
        if arrived.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = arrived.len().min(length - bytes.len());
        bytes.extend_from_slice(&arrived[..taken]);
        input.consume(taken);
    }
    Ok(bytes)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("Protocol error: {what}"),
    )
}
