use std::io;
use std::time::Duration;

use super::deadline::within;
use super::{AuthError, DEADLINE, Digest, Duplex, Key, fill_random};

/// The plain form: the server sends N random bytes, the client answers with their HMAC.
///
/// Both sides must agree on the key, on N and on the digest. In Python the client is
///
/// ```python
/// challenge = sock.recv(32)
/// sock.sendall(hmac.new(key, challenge, "sha256").digest())
/// ```
///
/// The server says nothing about the outcome: it goes on, or closes. Only the client proves that it
/// knows the key, so it answers whoever asks.
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
    deadline: Duration,
}

impl Plain {
    /// With SHA-256, challenges of 32 bytes, and 10 s for the handshake.
    pub fn new(key: impl Into<Key>) -> Self {
        Plain {
            key: key.into(),
            digest: Digest::Sha256,
            challenge_len: 32,
            deadline: DEADLINE,
        }
    }

    /// The digest. Default SHA-256.
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digest = digest;
        self
    }

    /// How many random bytes the server sends. Default 32. With less than 16, a client's answers
    /// can be collected and played back.
    pub fn challenge_len(mut self, bytes: u16) -> Self {
        self.challenge_len = bytes;
        self
    }

    /// How long the whole handshake may take. Default 10 s.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// The server's side: sends a challenge, and succeeds if the client's answer is right.
    ///
    /// Blocks until the answer is there, at most for the [deadline](Self::max_lifetime). It takes
    /// exactly the answer off the stream.
    ///
    /// # Errors
    ///
    /// [`WrongAnswer`](AuthError::WrongAnswer): close the connection, there is nothing to say.
    /// [`TimedOut`](AuthError::TimedOut), [`Truncated`](AuthError::Truncated), and what the stream
    /// reports.
    pub fn challenge<D: Duplex + ?Sized>(&self, stream: &mut D) -> Result<(), AuthError> {
        let mut challenge = self.new_challenge()?;
        fill_random(&mut challenge)?;
        let mut answer = vec![0; self.digest.output_len()];
        within(stream, self.deadline, |stream| {
            stream.write_all(&challenge)?;
            stream.read_exact(&mut answer)
        })?;
        self.digest.verify(&self.key, &challenge, &answer)
    }

    /// The client's side: waits for the challenge and answers it.
    ///
    /// Blocks until the challenge is there, at most for the [deadline](Self::max_lifetime). A success
    /// means that the answer was sent; one that is wrong shows when the server closes the
    /// connection.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](AuthError::TimedOut), [`Truncated`](AuthError::Truncated), and what the stream
    /// reports.
    pub fn answer<D: Duplex + ?Sized>(&self, stream: &mut D) -> Result<(), AuthError> {
        let mut challenge = self.new_challenge()?;
        within(stream, self.deadline, |stream| {
            stream.read_exact(&mut challenge)?;
            stream.write_all(&self.digest.answer(&self.key, &challenge))
        })
    }

    fn new_challenge(&self) -> io::Result<Vec<u8>> {
        if self.challenge_len == 0 {
            let message = "a challenge of 0 bytes has always the same answer";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(vec![0; self.challenge_len.into()])
    }
}
