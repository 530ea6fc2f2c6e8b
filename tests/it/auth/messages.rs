//! Messages after the handshake: Python's framing, both headers, any fragmentation, and the maximum
//! length.
#![cfg(feature = "auth")]

use std::io::{self, IoSlice, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use socketserver::auth::{AuthError, Connection};

use support::fragmented::FragmentedDuplex;

const GIB: usize = 1 << 30;

fn sent(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut connection = Connection::new((io::empty(), &mut data));
    for message in messages {
        connection
            .send_bytes(message)
            .expect("writing to a Vec succeeds");
    }
    data
}

/// Receives all messages up to the end of the stream or the first error.
fn received<R: Read>(reader: R, max_len: usize) -> (Vec<Vec<u8>>, Option<AuthError>) {
    let mut connection = Connection::new((reader, io::sink())).max_len(max_len);
    let mut messages = Vec::new();
    loop {
        match connection.recv_bytes() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// A writer that keeps the first bytes, and counts all bytes.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    total: usize,
}

impl Write for Head {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let left = 12 - self.bytes.len();
        self.bytes.extend_from_slice(&data[..data.len().min(left)]);
        self.total += data.len();
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The message consists of zeros that are never read or written, so it uses no memory.
#[test]
#[cfg(target_pointer_width = "64")]
fn messages_of_2_gib_and_more_have_the_long_header() {
    let zeros = vec![0; 2 * GIB];
    let header = |length: usize| {
        let mut head = Head::default();
        let mut connection = Connection::new((io::empty(), &mut head));
        connection
            .send_bytes(&zeros[..length])
            .expect("the bytes are only counted");
        (head.bytes, head.total - length)
    };
    assert_eq!(
        header(2 * GIB - 1),
        (b"\x7f\xff\xff\xff\0\0\0\0\0\0\0\0".to_vec(), 4)
    );
    assert_eq!(
        header(2 * GIB),
        (b"\xff\xff\xff\xff\0\0\0\0\x80\0\0\0".to_vec(), 12)
    );
}

#[test]
fn a_short_message_may_have_the_long_header() {
    let data = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x05hello\0\0\0\x02ok";
    let (messages, error) = received(&data[..], 10);
    assert_eq!(messages, [b"hello".to_vec(), b"ok".to_vec()]);
    assert!(error.is_none());
}

#[test]
fn a_message_over_the_maximum_is_not_read() {
    let mut data = &b"\0\0\0\x0ahello hell"[..];
    let (messages, _) = received(&mut data, 10);
    assert_eq!(messages, [b"hello hell".to_vec()]);
    let long = [&[0xff; 4][..], &u64::MAX.to_be_bytes(), b"rest"].concat();
    for (header, length) in [(&b"\0\0\0\x0brest"[..], 11), (&long, u64::MAX)] {
        let mut data = header;
        let (_, error) = received(&mut data, 10);
        let expected = format!("the announced message is too long: {length} bytes, 10 at most");
        assert_eq!(
            error.expect("the message is too long").to_string(),
            expected
        );
        assert_eq!(data, b"rest");
    }
}

#[test]
fn a_negative_length_is_an_error() {
    let (_, error) = received(&b"\xff\xff\xff\xfe"[..], 10);
    assert!(matches!(error, Some(AuthError::NegativeLength(-2))));
}

/// A reader that returns fewer bytes than requested, and records the longest buffer.
struct ShortReads {
    left: usize,
    requested: usize,
}

impl Read for ShortReads {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.requested = self.requested.max(buffer.len());
        let n = buffer.len().min(self.left).min(7);
        self.left -= n;
        Ok(n)
    }
}

#[test]
fn memory_is_allocated_for_received_bytes_only() {
    let mut peer = ShortReads {
        left: 100,
        requested: 0,
    };
    let header: &[u8] = b"\xff\xff\xff\xff\0\0\x10\0\0\0\0\0";
    let (_, error) = received(header.chain(&mut peer), usize::MAX);
    let announced = 1_usize << 44;
    assert!(matches!(error, Some(AuthError::Truncated { missing }) if missing == announced - 100));
    assert!(
        peer.requested <= 128 << 10,
        "a buffer of {} bytes was allocated",
        peer.requested
    );
}

/// A writer that accepts a few bytes of the first slice at a time, with interrupted calls in
/// between.
struct ShortWrites {
    data: Vec<u8>,
    calls: usize,
    flushed: usize,
}

impl Write for ShortWrites {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let all: Vec<u8> = data.iter().flat_map(|slice| slice.to_vec()).collect();
        let n = all.len().min(3);
        self.data.extend_from_slice(&all[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = self.data.len();
        Ok(())
    }
}

#[test]
fn short_writes_are_continued_and_flushed() {
    let mut narrow = ShortWrites {
        data: Vec::new(),
        calls: 0,
        flushed: 0,
    };
    let mut connection = Connection::new((io::empty(), &mut narrow));
    connection
        .send_bytes(b"hello, world")
        .expect("the writer accepts bytes");
    connection
        .send_bytes(b"")
        .expect("the writer accepts bytes");
    assert_eq!(narrow.data, b"\0\0\0\x0chello, world\0\0\0\0");
    assert_eq!(narrow.flushed, narrow.data.len());
}

proptest! {
    #[test]
    fn any_messages_with_any_fragmentation(
        messages in vec(vec(any::<u8>(), 0..300), 0..10),
        sizes in vec(0..100_usize, 0..20),
    ) {
        let data = sent(&messages);
        let mut stream = FragmentedDuplex::new((&data[..], io::sink()), sizes);
        let (again, error) = received(&mut stream, 300);
        prop_assert!(error.is_none());
        prop_assert_eq!(again, messages);
    }

    /// Complete messages are received, and then the end of the stream or an error with the number
    /// of missing bytes.
    #[test]
    fn a_stream_truncated_anywhere(
        messages in vec(vec(any::<u8>(), 0..50), 1..6),
        truncated in any::<prop::sample::Index>(),
    ) {
        let data = sent(&messages);
        let truncated = truncated.index(data.len() + 1);
        let (again, error) = received(&data[..truncated], 50);
        prop_assert_eq!(&messages[..again.len()], &again[..]);
        let complete: usize = again.iter().map(|message| message.len() + 4).sum();
        match error {
            None => prop_assert_eq!(truncated, complete),
            Some(AuthError::Truncated { missing }) => {
                let header = truncated - complete < 4;
                let end = complete + 4 + if header { 0 } else { messages[again.len()].len() };
                prop_assert_eq!(truncated + missing, end);
            }
            Some(other) => prop_assert!(false, "{}", other),
        }
    }
}
