//! Messages are received as they were sent, with any fragmentation of the stream.

use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use socketserver::framing::{Framing, FramingError, Prefix};
use socketserver::prelude::*;

use super::streams::{all_prefixes, decode, encode};

use support::concurrent::ConcurrentTcpServer;
use support::fragmented::Fragmented;
use support::{ANY, connect, in_background};

fn any_prefix() -> impl Strategy<Value = Prefix> {
    select(all_prefixes())
}

/// Messages whose length fits into every prefix.
fn any_messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..=127), 0..12)
}

/// A wide prefix, and messages that are too long to be copied into one buffer with it.
fn any_long_messages() -> impl Strategy<Value = (Prefix, Vec<Vec<u8>>)> {
    let wide = any_prefix().prop_filter("one byte is too short", |prefix| prefix.width() > 1);
    (wide, vec(vec(any::<u8>(), 480..1500), 1..5))
}

proptest! {
    #[test]
    fn messages_are_the_same_with_any_fragmentation(
        prefix in any_prefix(),
        messages in any_messages(),
        cuts in vec(0..300_usize, 0..20),
    ) {
        let framing = Framing::new(prefix);
        let stream = encode(framing, &messages);
        let mut reader = Fragmented::new(&stream[..], cuts);
        let (read, error) = decode(framing, &mut reader);
        prop_assert!(error.is_none());
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn short_and_interrupted_writes_lose_nothing(
        prefix in any_prefix(),
        messages in any_messages(),
        cuts in vec(0..300_usize, 0..20),
    ) {
        let framing = Framing::new(prefix);
        let mut writer = Fragmented::new(Vec::new(), cuts);
        for message in &messages {
            framing.write(&mut writer, message).expect("the length fits");
        }
        let expected = encode(framing, &messages);
        prop_assert_eq!(writer.inner, expected);
    }

    #[test]
    fn long_messages_with_short_writes_and_reads(
        (prefix, messages) in any_long_messages(),
        cuts in vec(0..600_usize, 0..20),
    ) {
        let framing = Framing::new(prefix);
        let mut stream = Fragmented::new(Vec::new(), cuts.clone());
        for message in &messages {
            framing.write(&mut stream, message).expect("the length fits");
        }
        let mut reader = Fragmented::new(&stream.inner[..], cuts);
        let (read, error) = decode(framing, &mut reader);
        prop_assert!(error.is_none());
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn read_into_reuses_a_buffer(
        prefix in any_prefix(),
        messages in any_messages(),
        mut buffer in vec(any::<u8>(), 0..300),
    ) {
        let framing = Framing::new(prefix);
        let mut stream = &encode(framing, &messages)[..];
        for message in &messages {
            prop_assert!(framing.read_into(&mut stream, &mut buffer).expect("the message is complete"));
            prop_assert_eq!(&buffer, message);
        }
        prop_assert!(!framing.read_into(&mut stream, &mut buffer).expect("the stream has ended"));
        prop_assert_eq!(buffer, Vec::<u8>::new());
    }

    #[test]
    fn an_early_end_reports_the_number_of_missing_bytes(
        prefix in any_prefix(),
        messages in any_messages(),
        at in any::<Index>(),
    ) {
        let framing = Framing::new(prefix);
        let stream = encode(framing, &messages);
        let at = at.index(stream.len() + 1);
        let (read, error) = decode(framing, &mut &stream[..at]);
        prop_assert_eq!(&read[..], &messages[..read.len()]);

        let inside = at - encode(framing, &read).len();
        match error {
            None => prop_assert_eq!(inside, 0),
            Some(FramingError::EndInPrefix { missing, width }) => {
                prop_assert!(inside > 0);
                prop_assert_eq!((inside + missing, width), (prefix.width(), prefix.width()));
            }
            Some(FramingError::EndInMessage { missing, len }) => {
                prop_assert!(missing > 0);
                prop_assert_eq!(inside + missing, prefix.width() + len);
                prop_assert_eq!(len, messages[read.len()].len());
            }
            Some(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    /// Messages that are read and written again give the same bytes. This includes lengths over the
    /// maximum.
    #[test]
    fn any_bytes_are_messages_up_to_an_end_or_an_error(
        prefix in any_prefix(),
        max in 0..200_usize,
        stream in vec(any::<u8>(), 0..600),
    ) {
        let framing = Framing::new(prefix).max_len(max);
        let (messages, error) = decode(framing, &mut &stream[..]);
        prop_assert!(messages.iter().all(|message| message.len() <= max));
        let again = encode(framing, &messages);
        prop_assert_eq!(&again[..], &stream[..again.len()]);
        prop_assert_eq!(error.is_none(), again.len() == stream.len());
    }
}

#[test]
fn a_long_message_is_received_completely() {
    let message: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let framing = Framing::new(Prefix::U32.little_endian()).max_len(4_000_000);
    let stream = encode(framing, &[message.clone(), b"next".to_vec()]);
    let mut reader = Fragmented::new(&stream[..], vec![1448, 0, 65_536, 3]);
    let (messages, error) = decode(framing, &mut reader);
    assert!(error.is_none());
    assert!(messages == [message, b"next".to_vec()]);
}

/// A writer that records the address of each slice.
#[derive(Default)]
struct Addresses(Vec<*const u8>);

impl Write for Addresses {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.push(data.as_ptr());
        Ok(data.len())
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.extend(data.iter().map(|part| part.as_ptr()));
        Ok(data.iter().map(|part| part.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_message_is_written_in_one_call_and_not_copied() {
    for len in [0, 5, 504, 505, 100_000] {
        let mut writer = Fragmented::new(io::sink(), vec![usize::MAX]);
        let framing = Framing::new(Prefix::U32);
        framing
            .write(&mut writer, &vec![0; len])
            .expect("the writer accepts everything");
        assert_eq!(writer.calls, 1, "{len}");
    }

    let payload = vec![1; 100_000];
    let mut writer = Addresses::default();
    Framing::new(Prefix::U32)
        .write(&mut writer, &payload)
        .expect("the writer accepts everything");
    assert_eq!(writer.0[1], payload.as_ptr());
}

#[test]
fn a_handler_reads_lines_and_then_messages_from_rfile() {
    let server = ConcurrentTcpServer::builder()
        .rbufsize(16)
        .bind_fn(ANY, |request| {
            let mut line = String::new();
            request.rfile.read_line(&mut line)?;
            let framing = Framing::new(line.trim_end().parse()?);
            while let Some(message) = framing.read(&mut request.rfile)? {
                framing.write(&mut request.wfile, &message)?;
            }
            request.wfile.write_all(b"end")?;
            Ok(())
        });
    let server = in_background(server);
    let mut client: TcpStream = connect(server.server_address());
    let framing = Framing::new(Prefix::I32);
    client.write_all(b"!i\n").expect("the server reads");
    for message in [&b"short"[..], b"", &[7; 5000]] {
        framing
            .write(&mut client, message)
            .expect("the server reads");
        assert_eq!(
            framing
                .read(&mut client)
                .expect("the server answers")
                .as_deref(),
            Some(message)
        );
    }
    client
        .shutdown(Shutdown::Write)
        .expect("the socket is connected");
    assert_eq!(support::read_all(client), "end");
}
