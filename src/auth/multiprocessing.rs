use std::time::Duration;

use parking_lot::Mutex;

use super::connection::Header;
use super::digest::{Key, unsupported};
use super::duplex::{Timed, within};
use super::{AuthError, Connection, Digest, Duplex, HANDSHAKE_TIMEOUT, fill_random};

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";

/// The number of random bytes in our challenges, as in Python 3.12.
const RANDOM: usize = 40;

/// The length of a challenge from Python before 3.12, and the shortest that we answer.
const LEGACY_CHALLENGE: usize = 20;

/// The length of an HMAC-MD5. Python before 3.12 sends it without the name of the digest.
const LEGACY_ANSWER: usize = 16;

/// The longest message of a handshake, as in Python.
const MAX_MESSAGE: usize = 256;

/// The challenges of this process's clients that are not answered yet.
static OUTSTANDING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The handshake of Python's `multiprocessing.connection`. The peer is a `Client` or a `Listener` with
/// an `authkey`.
///
/// Each side challenges the other, so both sides prove that they know the key. This crate and Python
/// since 3.12 answer with HMAC-SHA-256. Python before 3.12 has only HMAC-MD5: for such a client or
/// listener turn on the cargo feature `auth-md5`. The challenge is the same for all peers: an old peer
/// treats the name of the digest in it as random bytes.
///
/// # What it protects against
///
/// A peer without the key is refused, also if it has recorded earlier handshakes: each challenge is new. But an
/// answer says neither which side has given it, nor for which connection. A server without the key that a client
/// connects to can therefore use the client:
///
/// - It **relays** each message to a server with the key, and back. Both sides accept, and the connection is the
///   attacker's. No handshake of this protocol prevents that: use it inside TLS, or where clients can connect to
///   no other server.
/// - It **reflects** the client's challenge to another client with the key, and so proves to the first that
///   it has the key too. [`connect`](Self::connect) answers no challenge that another `connect` of this
///   process has sent, and fails with [`Reflected`](AuthError::Reflected). Between processes this is not
///   noticed, and Python does not check it.
///
/// Python before 3.12 sends 20 random bytes and knows no digest but MD5. Since 3.12 a challenge names the digest,
/// and the answer covers the name, so an attacker cannot change it. But Python since 3.12, and this crate with MD5
/// allowed, still answer a challenge without a name with HMAC-MD5, so a server can ask for it.
/// [`allow_md5(false)`](Self::allow_md5) refuses that. With either digest, whoever a client connects to has one
/// answer to try keys against: a password can be guessed so, a random key of 32 bytes cannot.
///
/// # Examples
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
    md5: bool,
    timeout: Duration,
}

impl Multiprocessing {
    /// Uses this key, with 10 s for the handshake, and with MD5 for old peers if the feature
    /// `auth-md5` is on. A key is a `&str`, a `String`, a `&[u8]` or a `Vec<u8>`.
    ///
    /// An empty key is a key too, as in Python. Only the `Listener` of Python 3.11 then skips the
    /// handshake.
    #[doc(alias = "authkey")]
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Multiprocessing {
            key: Key::new(key),
            md5: cfg!(feature = "auth-md5"),
            timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// Sets whether peers may use MD5. Default: true if the feature `auth-md5` is on. If false, a peer
    /// that uses MD5 fails with [`UnsupportedDigest`](AuthError::UnsupportedDigest), as without the
    /// feature.
    pub fn allow_md5(mut self, allow: bool) -> Self {
        self.md5 = allow;
        self
    }

    /// Sets how long the whole handshake may take. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// On the server: challenges the client, then answers the client's challenge. Python's
    /// `Listener.accept`.
    ///
    /// It borrows the stream if you pass a borrow: `accept(&mut *request)`.
    ///
    /// Blocks until both have finished, at most for the
    /// [handshake timeout](Self::handshake_timeout).
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`](AuthError::WrongAnswer); [`Refused`](AuthError::Refused);
    /// [`UnsupportedDigest`](AuthError::UnsupportedDigest), usually for a peer that has only MD5;
    /// [`TimedOut`](AuthError::TimedOut); [`Expected`](AuthError::Expected) for messages that are not
    /// part of the protocol; errors of the stream.
    #[doc(alias = "deliver_challenge")]
    pub fn accept<D: Duplex>(&self, mut stream: D) -> Result<Connection<D>, AuthError> {
        within(&mut stream, self.timeout, |stream| {
            self.deliver_challenge(stream, &new_challenge()?)?;
            let theirs = receive_challenge(stream)?;
            self.answer_challenge(stream, &theirs)
        })?;
        Ok(Connection::new(stream))
    }

    /// On the client: answers the server's challenge, then challenges the server. Python's `Client`.
    ///
    /// Blocks until both have finished, at most for the
    /// [handshake timeout](Self::handshake_timeout).
    ///
    /// # Errors
    ///
    /// The same as [`accept`](Self::accept), and [`Reflected`](AuthError::Reflected).
    #[doc(alias = "answer_challenge")]
    pub fn connect<D: Duplex>(&self, mut stream: D) -> Result<Connection<D>, AuthError> {
        within(&mut stream, self.timeout, |stream| {
            let theirs = receive_challenge(stream)?;
            if OUTSTANDING.lock().contains(&theirs) {
                return Err(AuthError::Reflected);
            }
            self.answer_challenge(stream, &theirs)?;
            let ours = Outstanding::new()?;
            self.deliver_challenge(stream, &ours.0)
        })?;
        Ok(Connection::new(stream))
    }

    fn deliver_challenge<D: Duplex + ?Sized>(
        &self,
        stream: &mut Timed<'_, D>,
        challenge: &[u8],
    ) -> Result<(), AuthError> {
        send(stream, &[CHALLENGE, challenge].concat())?;
        let answer = receive(stream)?;
        match self.verify(challenge, &answer) {
            Ok(()) => send(stream, WELCOME),
            Err(error) => {
                // The peer may have closed the connection; the result is the same.
                let _ = send(stream, FAILURE);
                Err(error)
            }
        }
    }

    fn answer_challenge<D: Duplex + ?Sized>(
        &self,
        stream: &mut Timed<'_, D>,
        challenge: &[u8],
    ) -> Result<(), AuthError> {
        send(stream, &self.answer(challenge)?)?;
        match &*receive(stream)? {
            WELCOME => Ok(()),
            FAILURE => Err(AuthError::Refused),
            _ => Err(AuthError::Expected("#WELCOME# or #FAILURE#")),
        }
    }

    /// The HMAC covers the whole challenge with the name of the digest, so that an attacker cannot
    /// change the name.
    fn verify(&self, challenge: &[u8], answer: &[u8]) -> Result<(), AuthError> {
        let (digest, given) = if answer.len() == LEGACY_ANSWER {
            (self.md5()?, answer)
        } else {
            let (name, given) = split(answer).ok_or(AuthError::Expected("a digest"))?;
            (self.named(name)?, given)
        };
        digest.verify(&self.key, challenge, given)
    }

    /// A challenge without the name of a digest is from Python before 3.12. So is any challenge of
    /// exactly 20 bytes, because random bytes may look like a name.
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

    /// The digest of this name, if both the protocol and this crate support it.
    fn named(&self, name: &[u8]) -> Result<Digest, AuthError> {
        match name {
            b"sha256" => Ok(Digest::Sha256),
            b"md5" => self.md5(),
            other => Err(unsupported(other)),
        }
    }

    fn md5(&self) -> Result<Digest, AuthError> {
        #[cfg(feature = "auth-md5")]
        if self.md5 {
            return Ok(Digest::Md5);
        }
        Err(AuthError::UnsupportedDigest("md5"))
    }
}

/// A challenge of a client. While it exists, no other client of this process answers it.
struct Outstanding(Vec<u8>);

impl Outstanding {
    fn new() -> Result<Self, AuthError> {
        let challenge = new_challenge()?;
        OUTSTANDING.lock().push(challenge.clone());
        Ok(Outstanding(challenge))
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        OUTSTANDING.lock().retain(|other| *other != self.0);
    }
}

fn new_challenge() -> Result<Vec<u8>, AuthError> {
    let mut challenge = [&b"{sha256}"[..], &[0; RANDOM]].concat();
    let random = challenge.len() - RANDOM;
    fill_random(&mut challenge[random..])?;
    Ok(challenge)
}

fn receive_challenge<D: Duplex + ?Sized>(stream: &mut Timed<'_, D>) -> Result<Vec<u8>, AuthError> {
    let message = receive(stream)?;
    let challenge = message.strip_prefix(CHALLENGE);
    Ok(challenge
        .ok_or(AuthError::Expected("a challenge"))?
        .to_vec())
}

/// Splits a message into the name of the digest, which is in braces, and the rest. `None` if it does
/// not start with a name.
fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    /// The length of `sha3_256`.
    const MAX_NAME: usize = 8;
    let rest = message.strip_prefix(b"{")?;
    let end = rest
        .iter()
        .take(MAX_NAME + 1)
        .position(|byte| *byte == b'}')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn send<D: Duplex + ?Sized>(stream: &mut Timed<'_, D>, message: &[u8]) -> Result<(), AuthError> {
    stream.write_all(&[Header::new(message.len()).bytes(), message].concat())
}

fn receive<D: Duplex + ?Sized>(stream: &mut Timed<'_, D>) -> Result<Vec<u8>, AuthError> {
    let mut first = [0; 4];
    stream.read_exact(&mut first)?;
    let length = Header::read(first, MAX_MESSAGE, |more| stream.read_exact(more))?;
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(message)
}
