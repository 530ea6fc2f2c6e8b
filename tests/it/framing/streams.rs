//! Helpers for streams of messages.

use std::io::Read;

use socketserver::framing::{Framing, FramingError, Prefix};

pub const UNSIGNED: [Prefix; 4] = [Prefix::U8, Prefix::U16, Prefix::U32, Prefix::U64];
pub const SIGNED: [Prefix; 4] = [Prefix::I8, Prefix::I16, Prefix::I32, Prefix::I64];

pub fn all_prefixes() -> Vec<Prefix> {
    let both = [UNSIGNED, SIGNED].concat();
    both.iter()
        .flat_map(|prefix| [*prefix, prefix.little_endian()])
        .collect()
}

pub fn encode(framing: Framing, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for message in messages {
        framing
            .write(&mut stream, message)
            .expect("the length fits");
    }
    stream
}

/// Reads messages to the end of the stream or to an error.
pub fn decode(framing: Framing, reader: &mut dyn Read) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut messages = Vec::new();
    loop {
        match framing.read(reader) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// The error of reading a stream without a complete message.
pub fn failure(framing: Framing, mut stream: &[u8]) -> FramingError {
    let (messages, error) = decode(framing, &mut stream);
    assert_eq!(messages, Vec::<Vec<u8>>::new());
    error.expect("the stream is invalid")
}
