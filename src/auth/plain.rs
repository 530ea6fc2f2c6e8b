use std::io;
use std::time::Duration;

use super::digest::Key;
use super::duplex::within;
use super::{AuthError, Digest, Duplex, HANDSHAKE_TIMEOUT, fill_random};

/// The plain protocol: the server sends N random bytes, the client answers with their HMAC.
///
/// Both sides must use the same key, the same N and the same digest. The client in Python:
///
/// ```python
/// challenge = sock.recv(32)
/// sock.sendall(hmac.new(key, challenge, "sha256").digest())
/// ```
///
/// The server does not send the result: it continues or closes the connection. Only the client proves
/// that it has the key, so a client cannot authenticate the server.
///
/// ```
/// use std::net::TcpStream;
///
/// use socketserver::auth::Plain;
/// use socketserver::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let auth = Plain::new("a shared secret");
/// let known = auth.clone();
/// let server = TcpServer::bind_fn("127.0.0.1:0", move |request| {
///     known.challenge(request)?;
///     Ok(request.wfile.write_all(b"hello")?)
/// })?;
/// let server = server.serve_in_background()?;
///
/// let mut stream = TcpStream::connect(server.server_address())?;
/// auth.answer(&mut stream)?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Plain {
    key: Key,
    digest: Digest,
    challenge_len: u16,
    timeout: Duration,
}

impl Plain {
    /// Uses this key, with SHA-256, challenges of 32 bytes, and 10 s for the handshake. A key is a
    /// `&str`, a `String`, a `&[u8]` or a `Vec<u8>`.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Plain {
            key: Key::new(key),
            digest: Digest::Sha256,
            challenge_len: 32,
            timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// Sets the digest. Default SHA-256.
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digest = digest;
        self
    }

    /// Sets how many random bytes the server sends. Default 32. With fewer than 16 an attacker can
    /// record answers and send them again when a challenge repeats.
    pub fn challenge_len(mut self, bytes: u16) -> Self {
        self.challenge_len = bytes;
        self
    }

    /// Sets how long the whole handshake may take. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// On the server: sends a challenge, reads the client's answer and checks it.
    ///
    /// Blocks until the answer has arrived, at most for the
    /// [handshake timeout](Self::handshake_timeout). It reads no byte after the answer.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`](AuthError::WrongAnswer): close the connection.
    /// [`TimedOut`](AuthError::TimedOut), [`Truncated`](AuthError::Truncated), and errors of
    /// the stream.
    pub fn challenge<D: Duplex + ?Sized>(&self, stream: &mut D) -> Result<(), AuthError> {
        let mut challenge = self.new_challenge()?;
        fill_random(&mut challenge)?;
        let mut answer = vec![0; self.digest.output_len()];
        within(stream, self.timeout, |stream| {
            stream.write_all(&challenge)?;
            stream.read_exact(&mut answer)
        })?;
        self.digest.verify(&self.key, &challenge, &answer)
    }

    /// On the client: waits for the challenge and sends the answer.
    ///
    /// Blocks until the challenge has arrived, at most for the
    /// [handshake timeout](Self::handshake_timeout). Success means only that the answer was sent. If
    /// the answer is wrong, the server closes the connection.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](AuthError::TimedOut), [`Truncated`](AuthError::Truncated), and errors of
    /// the stream.
    pub fn answer<D: Duplex + ?Sized>(&self, stream: &mut D) -> Result<(), AuthError> {
        let mut challenge = self.new_challenge()?;
        within(stream, self.timeout, |stream| {
            stream.read_exact(&mut challenge)?;
            stream.write_all(&self.digest.answer(&self.key, &challenge))
        })
    }

    fn new_challenge(&self) -> io::Result<Vec<u8>> {
        if self.challenge_len == 0 {
            let message = "a challenge of 0 bytes always has the same answer";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(vec![0; self.challenge_len.into()])
    }
}
