//! Handshakes of `auth`, and the messages after them, with a peer that sends arbitrary bytes.
//!
//! The first byte chooses the side and the sizes of the pieces; the rest is what the peer sends. Where
//! told to, the peer knows the key: it slips the right answer in when it is challenged, so that what
//! comes after a handshake is reached too.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use socketserver::auth::{AuthError, Connection, Duplex, Multiprocessing, Plain};

const MAX_LEN: usize = 1000;

/// The other end, in memory.
struct Peer {
    to_us: VecDeque<u8>,
    piece: usize,
    knows_the_key: bool,
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.piece);
        self.to_us.read(&mut buffer[..most])
    }
}

impl Write for Peer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.knows_the_key {
            let plain = (data.len() == 32).then_some((data, &b""[..]));
            let mp = data
                .get(15..)
                .filter(|_| data[4..].starts_with(b"#CHALLENGE#"));
            if let Some((challenge, head)) = mp.map(|c| (c, &b"\0\0\0\x28{sha256}"[..])).or(plain) {
                self.slip_in(head, challenge);
            }
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    fn slip_in(&mut self, head: &[u8], challenge: &[u8]) {
        let mut answer = head.to_vec();
        Plain::new("sesame")
            .challenge_len(challenge.len() as u16)
            .answer(&mut (challenge, &mut answer))
            .expect("the challenge is there");
        for byte in answer.into_iter().rev() {
            self.to_us.push_front(byte);
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

/// Receives to the end, and sends everything back.
fn talk(connection: Connection<Peer>) -> Result<(), AuthError> {
    let mut connection = connection.max_len(MAX_LEN);
    while let Some(message) = connection.recv_bytes()? {
        assert!(message.len() <= MAX_LEN);
        connection.send_bytes(&message)?;
    }
    Ok(())
}

/// What is sent comes back, cut into messages by its own bytes.
fn there_and_back(mut data: &[u8], piece: usize) {
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
            .expect("a Vec takes everything");
    }
    let peer = Peer {
        to_us: sent.into(),
        piece,
        knows_the_key: false,
    };
    let mut connection = Connection::new(peer);
    for message in messages {
        assert_eq!(
            connection.recv_bytes().expect("it was sent").as_deref(),
            Some(message)
        );
    }
    assert!(connection.recv_bytes().expect("it ends well").is_none());
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let piece = usize::from(choice >> 4) * 3 + 1;
    let mut peer = Peer {
        to_us: data.to_vec().into(),
        piece,
        knows_the_key: choice & 8 != 0,
    };
    let known = peer.knows_the_key;
    let plain = Plain::new("sesame");
    let both = Multiprocessing::new("sesame");
    match choice % 8 {
        0 => assert_eq!(plain.challenge(&mut peer).is_ok(), known),
        1 => assert_eq!(plain.answer(&mut peer).is_ok(), data.len() >= 32),
        2 | 3 => {
            let accepted = both.accept(peer);
            assert!(known || accepted.is_err());
            let _ = accepted.and_then(talk);
        }
        4 | 5 => {
            let connected = both.connect(peer);
            assert!(known || connected.is_err());
            let _ = connected.and_then(talk);
        }
        6 => drop(talk(Connection::new(peer))),
        _ => there_and_back(data, piece),
    }
});
