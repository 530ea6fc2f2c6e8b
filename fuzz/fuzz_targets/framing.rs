//! Any bytes from a peer are messages up to an end or an error. No input causes a panic or a
//! message over the maximum length. The messages do not depend on the fragmentation, and written
//! again they give the same bytes.
//!
//! ```text
//! cargo install cargo-fuzz
//! cargo fuzz run --sanitizer none framing -- -max_total_time=60
//! ```
#![no_main]

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use socketserver::framing::{Framing, FramingError, Prefix};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    format: &'a str,
    max: u16,
    pieces: Vec<u8>,
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let prefix = match input.format.parse::<Prefix>() {
        Ok(prefix) => prefix,
        // Few texts are a valid prefix. For the others, their length selects a prefix.
        Err(_) => choose(input.format.len()),
    };
    assert_eq!(prefix.to_string().parse::<Prefix>().ok(), Some(prefix));

    let max = usize::from(input.max);
    let framing = Framing::new(prefix).max_len(max);
    let (messages, error) = read_all(framing, &mut &input.stream[..]);
    assert!(messages.iter().all(|message| message.len() <= max));

    let fragmented = &mut Fragmented::new(input.stream.to_vec(), &input.pieces);
    let (again, same_error) = read_all(framing, fragmented);
    assert_eq!(messages, again);
    assert_eq!(format!("{error:?}"), format!("{same_error:?}"));

    let mut written = Fragmented::new(Vec::new(), &input.pieces);
    for message in &messages {
        framing
            .write(&mut written, message)
            .expect("the message was read with this framing");
    }
    assert!(input.stream.starts_with(&written.bytes));
    check(error, &input.stream[written.bytes.len()..]);
});

fn choose(n: usize) -> Prefix {
    let widths = [Prefix::U8, Prefix::U16, Prefix::U32, Prefix::U64];
    let signed = [Prefix::I8, Prefix::I16, Prefix::I32, Prefix::I64];
    let prefix = [widths, signed][n / 4 % 2][n % 4];
    if (n / 8).is_multiple_of(2) {
        prefix
    } else {
        prefix.little_endian()
    }
}

fn read_all(framing: Framing, reader: &mut dyn Read) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut messages = Vec::new();
    let mut message = Vec::new();
    loop {
        match framing.read_into(reader, &mut message) {
            Ok(true) => messages.push(message.clone()),
            Ok(false) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// Checks that the error matches the rest of the stream.
fn check(error: Option<FramingError>, rest: &[u8]) {
    match error {
        None => assert!(rest.is_empty()),
        Some(FramingError::EndInPrefix { missing, width }) => {
            assert_eq!(rest.len() + missing, width);
        }
        Some(FramingError::EndInMessage { missing, len }) => {
            assert!((1..=8).contains(&(rest.len() + missing - len)));
        }
        Some(FramingError::Negative(len)) => assert!(len < 0),
        Some(FramingError::TooLong { len, max }) => assert!(len > max),
        Some(other) => panic!("{other}"),
    }
}

/// A stream that transfers a few bytes at a time, with interrupted calls in between.
struct Fragmented<'a> {
    bytes: Vec<u8>,
    read: usize,
    pieces: std::iter::Cycle<std::iter::Copied<std::slice::Iter<'a, u8>>>,
    was_interrupted: bool,
}

impl<'a> Fragmented<'a> {
    fn new(bytes: Vec<u8>, pieces: &'a [u8]) -> Self {
        let pieces = pieces.iter().copied().cycle();
        Fragmented {
            bytes,
            read: 0,
            pieces,
            was_interrupted: false,
        }
    }

    /// The size of the next piece. A 0 is an interrupted call, but never two in a row.
    fn next(&mut self) -> io::Result<usize> {
        match self.pieces.next() {
            Some(0) if !self.was_interrupted => {
                self.was_interrupted = true;
                Err(ErrorKind::Interrupted.into())
            }
            piece => {
                self.was_interrupted = false;
                Ok(piece.map_or(usize::MAX, |piece| usize::from(piece).max(1)))
            }
        }
    }
}

impl Read for Fragmented<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.next()?.min(out.len());
        let n = (&self.bytes[self.read..]).read(&mut out[..most])?;
        self.read += n;
        Ok(n)
    }
}

impl Write for Fragmented<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = self.next()?;
        let before = self.bytes.len();
        for part in data {
            let n = left.min(part.len());
            self.bytes.extend_from_slice(&part[..n]);
            left -= n;
        }
        Ok(self.bytes.len() - before)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
