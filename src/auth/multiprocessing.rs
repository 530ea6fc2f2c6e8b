use std::time::Duration;

use super::deadline::{Timed, within};
use super::digest::unsupported;
use super::header::Header;
use super::{AuthError, Connection, DEADLINE, Digest, Duplex, Key, fill_random};

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";

/// How many random bytes a challenge of ours has, as in Python 3.12.
const RANDOM: usize = 40;

/// The length of a challenge from Python before 3.12, and the least that is answered.
const LEGACY_CHALLENGE: usize = 20;

/// The length of an HMAC-MD5, which Python before 3.12 sends without a name in front.
const LEGACY_ANSWER: usize = 16;

/// No message of a handshake is longer, in Python either.
const LONGEST: usize = 256;

/// The handshake of Python's `multiprocessing.connection`, with a `Client` or a `Listener` that was
/// given an `authkey`.
///
/// Each side challenges the other, so both prove that they know the key. Python 3.12 and later
/// answers with HMAC-SHA-256; so does this. Python before that knows only HMAC-MD5, and is served,
/// in both roles, with the cargo feature `auth-md5`. The challenge is the same for all: an old peer
/// takes the name of the digest in it for part of the random bytes.
///
/// ```
/// use std::net::TcpStream;
///
/// use socketserver::auth::Multiprocessing;
/// use socketserver::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let auth = Multiprocessing::new("a shared secret");
/// let known = auth.clone();
/// let server = TcpServer::bind_fn("127.0.0.1:0", move |request| {
///     let mut connection = known.accept(request)?;
///     while connection.get_mut().wait_for_data()? {
///         let Some(message) = connection.recv_bytes()? else { break };
///         connection.send_bytes(&message.to_ascii_uppercase())?;
///     }
///     Ok(())
/// })?;
/// let server = server.serve_in_background()?;
///
/// // In Python: Client(address, authkey=b"a shared secret")
/// let mut connection = auth.connect(TcpStream::connect(server.server_address())?)?;
/// connection.send_bytes(b"hello")?;
/// assert_eq!(connection.recv_bytes()?, Some(b"HELLO".to_vec()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Multiprocessing {
    key: Key,
    legacy: bool,
    deadline: Duration,
}

impl Multiprocessing {
    /// With 10 s for the handshake, and with MD5 for old peers if the feature `auth-md5` is on.
    #[doc(alias = "authkey")]
    pub fn new(key: impl Into<Key>) -> Self {
        Multiprocessing {
            key: key.into(),
            legacy: cfg!(feature = "auth-md5"),
            deadline: DEADLINE,
        }
    }

    /// Whether peers may use MD5. Default: whether the feature `auth-md5` is on. With false they
    /// get the same [`UnsupportedDigest`](AuthError::UnsupportedDigest) as without it.
    pub fn allow_md5(mut self, allow: bool) -> Self {
        self.legacy = allow;
        self
    }

    /// How long the whole handshake may take. Default 10 s.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// The server's side: challenges the client, then answers its challenge. Python's
    /// `Listener.accept`.
    ///
    /// A handler that needs its request again afterwards lends it: `accept(&mut *request)`.
    ///
    /// Blocks until both are done, at most for the [deadline](Self::max_lifetime).
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`](AuthError::WrongAnswer) and [`Refused`](AuthError::Refused);
    /// [`UnsupportedDigest`](AuthError::UnsupportedDigest), above all for a peer that knows only
    /// MD5; [`TimedOut`](AuthError::TimedOut); messages that the protocol does not have, and what
    /// the stream reports.
    #[doc(alias = "deliver_challenge")]
    pub fn accept<D: Duplex>(&self, mut stream: D) -> Result<Connection<D>, AuthError> {
        within(&mut stream, self.deadline, |stream| {
            self.deliver_challenge(stream)?;
            self.answer_challenge(stream)
        })?;
        Ok(Connection::new(stream))
    }

    /// The client's side: answers the server's challenge, then challenges it. Python's `Client`.
    ///
    /// Blocks until both are done, at most for the [deadline](Self::max_lifetime).
    ///
    /// # Errors
    ///
    /// Those of [`accept`](Self::accept).
    #[doc(alias = "answer_challenge")]
    pub fn connect<D: Duplex>(&self, mut stream: D) -> Result<Connection<D>, AuthError> {
        within(&mut stream, self.deadline, |stream| {
            self.answer_challenge(stream)?;
            self.deliver_challenge(stream)
        })?;
        Ok(Connection::new(stream))
    }

    fn deliver_challenge<D: Duplex + ?Sized>(
        &self,
        stream: &mut Timed<'_, D>,
    ) -> Result<(), AuthError> {
        let mut message = [CHALLENGE, b"{sha256}", &[0; RANDOM]].concat();
        let random = message.len() - RANDOM;
        fill_random(&mut message[random..])?;
        send(stream, &message)?;
        let answer = receive(stream)?;
        match self.verify(&message[CHALLENGE.len()..], &answer) {
            Ok(()) => send(stream, WELCOME),
            Err(error) => {
                // A peer that does not wait for the verdict changes nothing about it.
                let _ = send(stream, FAILURE);
                Err(error)
            }
        }
    }

    fn answer_challenge<D: Duplex + ?Sized>(
        &self,
        stream: &mut Timed<'_, D>,
    ) -> Result<(), AuthError> {
        let message = receive(stream)?;
        let challenge = message.strip_prefix(CHALLENGE);
        let answer = self.answer(challenge.ok_or(AuthError::Expected("a challenge"))?)?;
        send(stream, &answer)?;
        match &*receive(stream)? {
            WELCOME => Ok(()),
            FAILURE => Err(AuthError::Refused),
            _ => Err(AuthError::Expected("#WELCOME# or #FAILURE#")),
        }
    }

    /// The HMAC is over the whole challenge, with the digest's name in it, so that nobody on the
    /// way can exchange the name.
    fn verify(&self, challenge: &[u8], answer: &[u8]) -> Result<(), AuthError> {
        let (digest, given) = if answer.len() == LEGACY_ANSWER {
            (self.md5()?, answer)
        } else {
            let (name, given) = split(answer).ok_or(AuthError::Expected("a digest"))?;
            (self.named(name)?, given)
        };
        digest.verify(&self.key, challenge, given)
    }

    /// A challenge without the name of a digest is from Python before 3.12. Of that length it is
    /// one even if chance has put a name in it.
    fn answer(&self, challenge: &[u8]) -> Result<Vec<u8>, AuthError> {
        if challenge.len() < LEGACY_CHALLENGE {
            return Err(AuthError::Expected("a challenge of at least 20 bytes"));
        }
        match split(challenge).filter(|_| challenge.len() > LEGACY_CHALLENGE) {
            None => Ok(self.md5()?.answer(&self.key, challenge)),
            Some((name, _)) => {
                let digest = self.named(name)?;
                let answer = digest.answer(&self.key, challenge);
                Ok([b"{", digest.name().as_bytes(), b"}", &answer].concat())
            }
        }
    }

    /// The digests that the protocol allows and this crate has.
    fn named(&self, name: &[u8]) -> Result<Digest, AuthError> {
        match name {
            b"sha256" => Ok(Digest::Sha256),
            b"md5" => self.md5(),
            other => Err(unsupported(other)),
        }
    }

    fn md5(&self) -> Result<Digest, AuthError> {
        #[cfg(feature = "auth-md5")]
        if self.legacy {
            return Ok(Digest::Md5);
        }
        Err(AuthError::UnsupportedDigest("md5"))
    }
}

/// Parts a message into the digest's name in braces, if it begins with one, and the rest.
fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    /// That of `sha3_256`.
    const LONGEST_NAME: usize = 8;
    let rest = message.strip_prefix(b"{")?;
    let end = rest
        .iter()
        .take(LONGEST_NAME + 1)
        .position(|byte| *byte == b'}')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn send<D: Duplex + ?Sized>(stream: &mut Timed<'_, D>, message: &[u8]) -> Result<(), AuthError> {
    stream.write_all(&[Header::new(message.len()).bytes(), message].concat())
}

fn receive<D: Duplex + ?Sized>(stream: &mut Timed<'_, D>) -> Result<Vec<u8>, AuthError> {
    let mut first = [0; 4];
    stream.read_exact(&mut first)?;
    let length = Header::read(first, LONGEST, |more| stream.read_exact(more))?;
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(message)
}
