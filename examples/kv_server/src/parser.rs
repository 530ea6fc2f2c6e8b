//! Reads commands: arrays of bulk strings (RESP2), or words on a line.

use std::io::{self, BufRead, Read};

use super::inline;
use super::integer::integer;
use super::memory::Memory;

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
/// `InvalidData` for a malformed command and above the limit of memory, `UnexpectedEof` inside of one, and
/// what the input reports.
pub fn next_command(input: &mut impl BufRead, memory: &Memory<'_>) -> io::Result<Vec<Vec<u8>>> {
    let first = line(input, |line| match line.strip_prefix(b"*") {
        Some(count) => word_count(count).map(Line::Count),
        None => typed(line, memory).map(Line::Words),
    });
    match first? {
        Line::Count(count) => array(input, count, memory),
        Line::Words(words) => Ok(words),
    }
}

/// The first line of a command.
enum Line {
    /// The number of words that follow.
    Count(i64),
    Words(Vec<Vec<u8>>),
}

fn word_count(text: &[u8]) -> io::Result<i64> {
    integer(text)
        .filter(|count| *count <= MOST_WORDS)
        .ok_or_else(|| broken("invalid multibulk length"))
}

fn typed(line: &[u8], memory: &Memory<'_>) -> io::Result<Vec<Vec<u8>>> {
    let words = line.split(u8::is_ascii_whitespace).count();
    reserve(memory, line.len() + words * WORD)?;
    inline::words(line).ok_or_else(|| broken("unbalanced quotes in request"))
}

fn array(input: &mut impl BufRead, count: i64, memory: &Memory<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut left = MAX_LENGTH;
    // Most commands have a few words.
    let mut words = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(4));
    for _ in 0..count {
        let length = line(input, bulk_length)?;
        left = length
            .checked_add(WORD)
            .and_then(|taken| left.checked_sub(taken))
            .ok_or_else(|| broken("invalid bulk length"))?;
        reserve(memory, WORD)?;
        let mut word = bytes(input, length + 2, memory)?;
        if !word.ends_with(b"\r\n") {
            return Err(broken("expected a line's end after a bulk string"));
        }
        word.truncate(length);
        words.push(word);
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

/// Passes the next line, without its end, to `parse`. It is not copied if it has arrived completely.
fn line<T>(input: &mut impl BufRead, parse: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<T> {
    let arrived = input.fill_buf()?;
    if let Some(at) = arrived.iter().position(|byte| *byte == b'\n') {
        let parsed = parse(without_cr(&arrived[..at]));
        input.consume(at + 1);
        return parsed;
    }
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\n") {
        Some(text) => parse(without_cr(text)),
        None if line.len() as u64 == LONGEST_LINE => Err(broken("too big inline request")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn bytes(input: &mut impl BufRead, length: usize, memory: &Memory<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let arrived = input.fill_buf()?;
        if arrived.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = arrived.len().min(length - bytes.len());
        grow(&mut bytes, taken, length, memory)?;
        memory.moved(taken);
        bytes.extend_from_slice(&arrived[..taken]);
        input.consume(taken);
    }
    Ok(bytes)
}

/// Makes room for more bytes, at least as much as there is already, and at most for `length` in all.
fn grow(bytes: &mut Vec<u8>, more: usize, length: usize, memory: &Memory<'_>) -> io::Result<()> {
    let (used, capacity) = (bytes.len(), bytes.capacity());
    if capacity - used < more {
        let wanted = (used + more).max(2 * capacity).min(length);
        reserve(memory, wanted - capacity)?;
        bytes.reserve_exact(wanted - used);
    }
    Ok(())
}

fn reserve(memory: &Memory<'_>, bytes: usize) -> io::Result<()> {
    let exceeded = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    memory.reserve(bytes).map_err(exceeded)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("ERR Protocol error: {what}"),
    )
}
