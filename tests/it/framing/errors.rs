//! Errors in a stream of messages: each error is named, and none allocates memory.

use std::error::Error;
use std::io::{self, ErrorKind, Read};

use socketserver::framing::{Framing, FramingError, Prefix};

use super::streams::{SIGNED, encode, failure};

#[test]
fn a_negative_length_is_an_error() {
    for prefix in SIGNED {
        for prefix in [prefix, prefix.little_endian()] {
            let error = failure(Framing::new(prefix), &[0xff; 8][..prefix.width()]);
            assert!(
                matches!(error, FramingError::Negative(-1)),
                "{prefix}: {error}"
            );
        }
    }
    let error = failure(Framing::new(Prefix::I16), b"\x80\x00");
    assert_eq!(
        error.to_string(),
        "the announced length of a message is negative: -32768"
    );
    assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidData);
}

#[test]
fn a_message_of_the_maximum_length_is_read_and_a_longer_one_is_not() {
    let framing = Framing::new(Prefix::U16).max_len(300);
    let wider = Framing::new(Prefix::U16);
    let stream = encode(wider, &[vec![7; 300], vec![7; 301]]);
    let mut reader = &stream[..];
    assert_eq!(
        framing.read(&mut reader).expect("the length fits"),
        Some(vec![7; 300])
    );
    let error = framing
        .read(&mut reader)
        .expect_err("the message is too long");
    assert_eq!(
        error.to_string(),
        "the announced message is too long: 301 bytes, 300 at most"
    );
    assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidData);
    assert_eq!(reader.len(), 301, "nothing of the message was read");
}

#[test]
fn the_default_maximum_is_one_mebibyte() {
    let framing = Framing::new(Prefix::U64);
    assert!(framing.write(&mut io::sink(), &vec![0; 1 << 20]).is_ok());
    assert!(
        framing
            .write(&mut io::sink(), &vec![0; (1 << 20) + 1])
            .is_err()
    );
    let error = failure(framing, &u64::MAX.to_be_bytes());
    assert!(
        matches!(
            error,
            FramingError::TooLong {
                len: u64::MAX,
                max: 0x10_0000
            }
        ),
        "{error}"
    );
}

#[test]
fn nothing_is_written_of_a_message_that_is_too_long() {
    let by_prefix = Framing::new(Prefix::I8);
    let by_max = Framing::new(Prefix::U32).max_len(127);
    for framing in [by_prefix, by_max] {
        let mut written = Vec::new();
        framing
            .write(&mut written, &[0; 127])
            .expect("the message fits");
        let error = framing
            .write(&mut written, &[0; 128])
            .expect_err("the message is too long");
        assert_eq!(
            error.to_string(),
            "the message to send is too long: 128 bytes, 127 at most"
        );
        assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
        assert_eq!(written.len(), encode(framing, &[vec![0; 127]]).len());
    }
}

/// A reader of `data` that records the longest buffer of a read.
struct RecordBufferLength<'a> {
    data: &'a [u8],
    asked_for: usize,
}

impl Read for RecordBufferLength<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.asked_for = self.asked_for.max(out.len());
        self.data.read(out)
    }
}

#[test]
fn an_announced_length_allocates_no_memory() {
    let framing = Framing::new(Prefix::U32).max_len(usize::MAX);
    for sent in [0, 10, 100_000, 1_000_000] {
        let mut stream = (1_u32 << 30).to_be_bytes().to_vec();
        stream.resize(4 + sent, 0);
        let mut reader = RecordBufferLength {
            data: &stream,
            asked_for: 0,
        };
        let mut message = Vec::new();
        let error = framing
            .read_into(&mut reader, &mut message)
            .expect_err("the stream ends too early");
        let missing = (1 << 30) - sent;
        assert_eq!(
            error.to_string(),
            format!(
                "the stream ended inside a message: {missing} of {} bytes are missing",
                1 << 30
            )
        );
        let fair = (2 * sent).max(65_536);
        assert!(
            reader.asked_for <= fair && message.capacity() <= fair,
            "{sent}"
        );
    }
}

#[test]
fn a_full_writer_is_an_error() {
    let mut full: &mut [u8] = &mut [0; 6];
    let error = Framing::new(Prefix::U32)
        .write(&mut full, b"hello")
        .expect_err("the writer is full");
    assert_eq!(io::Error::from(error).kind(), ErrorKind::WriteZero);
    let mut full: &mut [u8] = &mut [0; 3];
    let error = Framing::new(Prefix::U32)
        .write(&mut full, b"hello")
        .expect_err("the writer is full");
    assert_eq!(io::Error::from(error).kind(), ErrorKind::WriteZero);
}

/// A reader that fails after `data`.
struct FailsAfter<'a>(&'a [u8]);

impl Read for FailsAfter<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.0.read(out)? {
            0 => Err(io::Error::new(ErrorKind::ConnectionReset, "cut")),
            n => Ok(n),
        }
    }
}

#[test]
fn the_readers_error_is_the_source() {
    for start in [&b""[..], b"\x00\x00", b"\x00\x00\x00\x05he"] {
        let error = Framing::new(Prefix::U32)
            .read(&mut FailsAfter(start))
            .expect_err("the reader fails");
        assert!(matches!(error, FramingError::Io(_)));
        assert_eq!(
            error.source().expect("the error has a source").to_string(),
            "cut"
        );
        let error = io::Error::from(error);
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::ConnectionReset, "cut".into())
        );
    }
}

#[test]
fn an_early_end_is_an_unexpected_eof() {
    let error = failure(Framing::new(Prefix::U32), b"\x00");
    assert_eq!(
        error.to_string(),
        "the stream ended inside the length of a message: 3 of 4 bytes are missing"
    );
    assert!(error.source().is_none());
    assert_eq!(io::Error::from(error).kind(), ErrorKind::UnexpectedEof);
    let error = failure(Framing::new(Prefix::U8), b"\x05abc");
    assert_eq!(
        error.to_string(),
        "the stream ended inside a message: 2 of 5 bytes are missing"
    );
    assert_eq!(io::Error::from(error).kind(), ErrorKind::UnexpectedEof);
}
