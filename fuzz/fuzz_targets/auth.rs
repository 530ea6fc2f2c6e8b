//! Handshakes of `auth`, and the messages after them, with a peer that sends arbitrary bytes.
//!
//! The first byte selects the side, the sizes of the pieces, and whether the peer has the key. The
//! rest is the input from the peer. A peer with the key inserts the right answer to each challenge,
//! so that the messages after a handshake are reached as well.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use socketserver::auth::{AuthError, Connection, Duplex, Multiprocessing, Plain};

const MAX_LEN: usize = 1000;

/// The peer, in memory.
struct Peer {
    input: VecDeque<u8>,
    piece: usize,
    has_the_key: bool,
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.piece);
        self.input.read(&mut buffer[..most])
    }
}

impl Write for Peer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.has_the_key {
            let plain = (data.len() == 32).then_some((data, &b""[..]));
            let mp = data
                .get(15..)
                .filter(|_| data[4..].starts_with(b"#CHALLENGE#"));
            if let Some((challenge, head)) = mp.map(|c| (c, &b"\0\0\0\x28{sha256}"[..])).or(plain) {
                self.insert_answer(head, challenge);
            }
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    fn insert_answer(&mut self, head: &[u8], challenge: &[u8]) {
        let mut answer = head.to_vec();
        Plain::new("sesame")
            .challenge_len(challenge.len() as u16)
            .answer(&mut (challenge, &mut answer))
            .expect("the challenge is complete");
        for byte in answer.into_iter().rev() {
            self.input.push_front(byte);
        }
    }
}

impl Duplex for Peer {
    fn reader(&mut self) -> &mut dyn Read {
        self
    }

    fn writer(&mut self) -> &mut dyn Write {
        self
    }

    fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// Receives messages to the end of the stream, and sends them back.
fn echo(connection: Connection<Peer>) -> Result<(), AuthError> {
    let mut connection = connection.max_len(MAX_LEN);
    while let Some(message) = connection.recv_bytes()? {
        assert!(message.len() <= MAX_LEN);
        connection.send_bytes(&message)?;
    }
    Ok(())
}

/// Messages that are sent are received unchanged. The input determines their lengths.
fn round_trip(mut data: &[u8], piece: usize) {
    let mut messages = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (message, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        messages.push(message);
        data = rest;
    }
    let mut sent = Vec::new();
    let mut connection = Connection::new((io::empty(), &mut sent));
    for message in &messages {
        connection
            .send_bytes(message)
            .expect("writing to a Vec succeeds");
    }
    let peer = Peer {
        input: sent.into(),
        piece,
        has_the_key: false,
    };
    let mut connection = Connection::new(peer);
    for message in messages {
        assert_eq!(
            connection
                .recv_bytes()
                .expect("the message was sent")
                .as_deref(),
            Some(message)
        );
    }
    assert!(
        connection
            .recv_bytes()
            .expect("the stream ends between two messages")
            .is_none()
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let piece = usize::from(choice >> 4) * 3 + 1;
    let mut peer = Peer {
        input: data.to_vec().into(),
        piece,
        has_the_key: choice & 8 != 0,
    };
    let known = peer.has_the_key;
    let plain = Plain::new("sesame");
    let both = Multiprocessing::new("sesame");
    match choice % 8 {
        0 => assert_eq!(plain.challenge(&mut peer).is_ok(), known),
        1 => assert_eq!(plain.answer(&mut peer).is_ok(), data.len() >= 32),
        2 | 3 => {
            let accepted = both.accept(peer);
            assert!(known || accepted.is_err());
            let _ = accepted.and_then(echo);
        }
        4 | 5 => {
            let connected = both.connect(peer);
            assert!(known || connected.is_err());
            let _ = connected.and_then(echo);
        }
        6 => drop(echo(Connection::new(peer))),
        _ => round_trip(data, piece),
    }
});
