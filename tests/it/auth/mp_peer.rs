//! Peers that implement `multiprocessing.connection` without the library: the old protocol of
//! Python before 3.12, and the new one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::digests::{hmac_md5, hmac_sha256};

/// The verdict of the peer about the other side, and the verdict of the other side about the peer.
#[derive(Debug, PartialEq)]
pub struct Verdicts {
    pub ours: bool,
    pub theirs: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Old,
    New,
}

pub fn send(mut stream: &UnixStream, message: &[u8]) {
    let length = u32::try_from(message.len()).expect("the message is short");
    let data = [&length.to_be_bytes(), message].concat();
    // Fails if the other side has closed the connection. The verdict shows that.
    let _ = stream.write_all(&data);
}

/// The next message, or an empty message at the end of the stream.
pub fn receive(mut stream: &UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    if stream.read_exact(&mut length).is_err() {
        return Vec::new();
    }
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream
        .read_exact(&mut message)
        .expect("the message is complete");
    message
}

impl Form {
    /// Python's `Client`, the peer of the library's `accept`.
    pub fn client(self, stream: &UnixStream, key: &[u8]) -> Verdicts {
        let theirs = self.answer(stream, key);
        let ours = theirs == b"#WELCOME#" && self.deliver(stream, key);
        Verdicts { ours, theirs }
    }

    /// Python's `Listener`, the peer of the library's `connect`.
    pub fn listener(self, stream: &UnixStream, key: &[u8]) -> Verdicts {
        let ours = self.deliver(stream, key);
        let theirs = if ours {
            self.answer(stream, key)
        } else {
            Vec::new()
        };
        Verdicts { ours, theirs }
    }

    /// The answer to a challenge. The HMAC covers all bytes after `#CHALLENGE#`.
    pub fn response(self, key: &[u8], challenge: &[u8]) -> Vec<u8> {
        match self {
            Form::Old => hmac_md5(key, challenge),
            Form::New if challenge.len() == 20 => hmac_md5(key, challenge),
            Form::New => [b"{sha256}", &*hmac_sha256(key, challenge)].concat(),
        }
    }

    fn answer(self, stream: &UnixStream, key: &[u8]) -> Vec<u8> {
        let message = receive(stream);
        let Some(challenge) = message.strip_prefix(b"#CHALLENGE#") else {
            return message;
        };
        assert_eq!(challenge.len(), 48);
        assert!(challenge.starts_with(b"{sha256}"));
        send(stream, &self.response(key, challenge));
        receive(stream)
    }

    fn deliver(self, stream: &UnixStream, key: &[u8]) -> bool {
        let challenge = match self {
            Form::Old => vec![7; 20],
            Form::New => [&b"{sha256}"[..], &[7; 40]].concat(),
        };
        send(stream, &[b"#CHALLENGE#", &*challenge].concat());
        let welcome = receive(stream) == self.response(key, &challenge);
        let verdict: &[u8] = if welcome { b"#WELCOME#" } else { b"#FAILURE#" };
        send(stream, verdict);
        welcome
    }
}
