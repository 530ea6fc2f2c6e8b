//! Authentication by HMAC challenge and response, over any stream, for servers and for clients.
//!
//! One side sends random bytes. The other side sends back their HMAC (RFC 2104) under a key that both
//! sides have. So it proves that it has the key without sending it. There are two protocols:
//!
//! | | [`Plain`] | [`Multiprocessing`] |
//! |---|---|---|
//! | used by | programs of your own: in Python `hmac`, `hashlib` and a socket | Python's `multiprocessing.connection` |
//! | which side proves that it has the key | the client | both sides, the client first |
//! | challenge | N random bytes, 32 by default | `#CHALLENGE#{sha256}` and 40 random bytes |
//! | answer | the digest only | `{sha256}` and the digest; from Python before 3.12 an HMAC-MD5 only |
//! | result | not sent: the server continues or closes | `#WELCOME#` or `#FAILURE#` |
//! | framing | none | each message has its length in front, see [`Connection`] |
//! | digests | any [`Digest`] | SHA-256, and MD5 with the feature `auth-md5` |
//! | on the server | [`challenge`](Plain::challenge) | [`accept`](Multiprocessing::accept) |
//! | on the client | [`answer`](Plain::answer) | [`connect`](Multiprocessing::connect) |
//! | afterwards | the same stream | a [`Connection`] of messages |
//!
//! In both protocols the challenge is new for each connection, and digests are compared in constant
//! time. The whole handshake has one timeout, 10 s by default: a peer that sends a byte now and then
//! does not extend it. No key and no digest is ever logged, printed by `Debug`, or part of an
//! [`AuthError`].
//!
//! **This is not encryption.** An attacker who can change the traffic can wait until the handshake has
//! succeeded and then take over the connection. So can a server without the key that relays a handshake:
//! [what the protocol protects against](Multiprocessing#what-it-protects-against). The handshake is only as
//! strong as the key: use random keys, 32 bytes for SHA-256. An empty key is accepted and protects nothing.
//!
//! ```
//! use socketserver::auth::Plain;
//! use socketserver::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let auth = Plain::new("a shared secret");
//! # let client = auth.clone();
//! let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", move |request| {
//!     auth.challenge(request)?;
//!     writeln!(request.wfile, "welcome, {}", request.client_address)?;
//!     Ok(())
//! })?;
//! # let server = server.serve_in_background()?;
//! # let mut stream = std::net::TcpStream::connect(server.server_address())?;
//! # client.answer(&mut stream)?;
//! # let mut text = String::new();
//! # stream.read_to_string(&mut text)?;
//! # assert!(text.starts_with("welcome, 127.0.0.1:"));
//! # Ok(())
//! # }
//! ```
//!
//! An error of the handshake ends the handler: the server closes the connection without an answer and
//! logs the error with the client's address.

mod connection;
mod digest;
mod duplex;
mod multiprocessing;
mod plain;

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

pub use self::connection::Connection;
#[doc(alias = "digestmod")]
pub use self::digest::Digest;
pub use self::duplex::Duplex;
pub use self::multiprocessing::Multiprocessing;
pub use self::plain::Plain;

/// How long a handshake may take by default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a handshake failed, or a message after it. It contains no key and no digest.
///
/// `?` converts it to an `io::Error` of the kind that is named at each variant.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthError {
    /// The peer's answer to our challenge is wrong: its key or its digest differs
    /// (`PermissionDenied`).
    WrongAnswer,
    /// The peer refused our answer (`PermissionDenied`).
    Refused,
    /// The peer's challenge is one that this process has sent to a server (`PermissionDenied`): an attacker
    /// without the key wants to learn the answer.
    Reflected,
    /// The handshake did not finish within this time (`TimedOut`).
    TimedOut(Duration),
    /// The digest of this name is not supported, or its feature is off (`Unsupported`). A name that
    /// this crate does not know is replaced by `the requested digest`.
    UnsupportedDigest(&'static str),
    /// The peer did not send this, which the protocol requires (`InvalidData`).
    Expected(&'static str),
    /// The announced length of a message is over the limit (`InvalidData`).
    TooLong {
        /// The announced length in bytes.
        len: u64,
        /// The limit in bytes.
        max: usize,
    },
    /// The announced length of a message is below zero (`InvalidData`).
    NegativeLength(i32),
    /// The stream ended inside the handshake or a message (`UnexpectedEof`).
    Truncated {
        /// At least this many bytes are missing.
        missing: usize,
    },
    /// What the stream or the system's random generator reports (the kind of that error).
    Io(io::Error),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::WrongAnswer => f.write_str(
                "the peer's answer to the challenge is wrong: its key or its digest differs",
            ),
            AuthError::Refused => f.write_str(
                "the peer refused our answer to its challenge: its key or its digest differs",
            ),
            AuthError::Reflected => f.write_str(
                "the peer sent this program's own challenge back: it does not have the key itself",
            ),
            AuthError::TimedOut(limit) => {
                write!(f, "the handshake did not finish within {limit:?}")
            }
            AuthError::UnsupportedDigest("md5") => f.write_str(
                "the digest md5 is off: Python before 3.12 needs the feature `auth-md5`",
            ),
            AuthError::UnsupportedDigest(name) => {
                write!(f, "{name} is not supported, or its feature is off")
            }
            AuthError::Expected(what) => write!(f, "the peer did not send {what}"),
            AuthError::TooLong { len, max } => write!(
                f,
                "the announced message is too long: {len} bytes, {max} at most"
            ),
            AuthError::NegativeLength(len) => {
                write!(f, "the announced length of a message is negative: {len}")
            }
            AuthError::Truncated { missing } => write!(
                f,
                "the peer closed the connection: at least {missing} bytes are missing"
            ),
            // An error report prints the source after this text.
            AuthError::Io(_) => f.write_str("the connection failed"),
        }
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            AuthError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for AuthError {
    fn from(error: io::Error) -> Self {
        AuthError::Io(error)
    }
}

impl From<AuthError> for io::Error {
    fn from(error: AuthError) -> Self {
        let kind = match error {
            AuthError::Io(error) => return error,
            AuthError::WrongAnswer | AuthError::Refused | AuthError::Reflected => {
                io::ErrorKind::PermissionDenied
            }
            AuthError::TimedOut(_) => io::ErrorKind::TimedOut,
            AuthError::UnsupportedDigest(_) => io::ErrorKind::Unsupported,
            AuthError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            AuthError::Expected(_) | AuthError::TooLong { .. } | AuthError::NegativeLength(_) => {
                io::ErrorKind::InvalidData
            }
        };
        io::Error::new(kind, error)
    }
}

/// Fills `bytes` from the system's random generator.
fn fill_random(bytes: &mut [u8]) -> Result<(), AuthError> {
    getrandom::fill(bytes).map_err(|e| AuthError::Io(io::Error::other(e.to_string())))
}
