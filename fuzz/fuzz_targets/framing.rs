//! Any bytes from a peer are messages up to an end or an error: never a panic, never more than the
//! maximum, the same however the bytes are cut up; and written again, they are what was read.
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
    cuts: Vec<u8>,
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let prefix = match input.format.parse::<Prefix>() {
        Ok(prefix) => prefix,
        // Few texts are a prefix. The others choose one by their length.
        Err(_) => choose(input.format.len()),
    };
    assert_eq!(prefix.to_string().parse::<Prefix>().ok(), Some(prefix));

    let max = usize::from(input.max);
    let framing = Framing::new(prefix).max_len(max);
    let (messages, error) = read_all(framing, &mut &input.stream[..]);
    assert!(messages.iter().all(|message| message.len() <= max));

    let cut_up = &mut Cut::new(input.stream.to_vec(), &input.cuts);
    let (again, same_error) = read_all(framing, cut_up);
    assert_eq!(messages, again);
    assert_eq!(format!("{error:?}"), format!("{same_error:?}"));

    let mut written = Cut::new(Vec::new(), &input.cuts);
    for message in &messages {
        framing
            .write(&mut written, message)
            .expect("it was read so");
    }
    assert!(input.stream.starts_with(&written.bytes));
    check(error, &input.stream[written.bytes.len()..]);
});

fn choose(n: usize) -> Prefix {
    let widths = [Prefix::U8, Prefix::U16, Prefix::U32, Prefix::U64];
    let signed = [Prefix::I8, Prefix::I16, Prefix::I32, Prefix::I64];
    let prefix = [widths, signed][n / 4 % 2][n % 4];
    if n / 8 % 2 == 0 {
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

/// The rest of the stream is what the error says.
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

/// A stream that moves a few bytes at a time, and is interrupted by signals.
struct Cut<'a> {
    bytes: Vec<u8>,
    read: usize,
    cuts: std::iter::Cycle<std::iter::Copied<std::slice::Iter<'a, u8>>>,
    after_signal: bool,
}

impl<'a> Cut<'a> {
    fn new(bytes: Vec<u8>, cuts: &'a [u8]) -> Self {
        let cuts = cuts.iter().copied().cycle();
        Cut {
            bytes,
            read: 0,
            cuts,
            after_signal: false,
        }
    }

    /// The next cut; a 0 is a signal, but never two in a row.
    fn next(&mut self) -> io::Result<usize> {
        match self.cuts.next() {
            Some(0) if !self.after_signal => {
                self.after_signal = true;
                Err(ErrorKind::Interrupted.into())
            }
            cut => {
                self.after_signal = false;
                Ok(cut.map_or(usize::MAX, |cut| usize::from(cut).max(1)))
            }
        }
    }
}

impl Read for Cut<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = self.next()?.min(out.len());
        let n = (&self.bytes[self.read..]).read(&mut out[..most])?;
        self.read += n;
        Ok(n)
    }
}

impl Write for Cut<'_> {
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
