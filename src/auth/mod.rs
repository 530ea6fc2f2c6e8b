//! Who is there? HMAC challenge and response over any stream, for servers and for clients.
//!
//! One side sends random bytes, the other sends back their HMAC (RFC 2104) under a key that both
//! know, and so proves that it knows the key without sending it. There are two wire forms:
//!
//! | | [`Plain`] | [`Multiprocessing`] |
//! |---|---|---|
//! | spoken by | hand-made programs: Python's `hmac`, `hashlib` and a socket | Python's `multiprocessing.connection` |
//! | who proves it | the client | both sides, the client first |
//! | challenge | N random bytes, 32 unless told otherwise | `#CHALLENGE#{sha256}` and 40 random bytes |
//! | answer | the digest, nothing around it | `{sha256}` and the digest; from Python before 3.12 an HMAC-MD5 alone |
//! | verdict | none: the server goes on, or closes | `#WELCOME#` or `#FAILURE#` |
//! | framing | none | each message behind its length, see [`Connection`] |
//! | digests | any [`Digest`] | SHA-256, and MD5 with the feature `auth-md5` |
//! | server's side | [`challenge`](Plain::challenge) | [`accept`](Multiprocessing::accept) |
//! | client's side | [`answer`](Plain::answer) | [`connect`](Multiprocessing::connect) |
//! | afterwards | the stream, as it was | a [`Connection`] of messages |
//!
//! In both the challenge is fresh for each connection, digests are compared in constant time, and
//! the whole handshake has a deadline, 10 s unless told otherwise: a peer that sends a byte now and
//! then does not extend it. No [`Key`] and no digest is ever logged, printed by `Debug`, or part of
//! an [`AuthError`].
//!
//! **What it is not:** encryption. Who can change what goes over the wire can wait for the
//! handshake and then take the connection over. And it is as good as the key: use random ones.
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
//! An error from a handshake ends the handler: the client is closed without a word, and the log
//! says why and names its address.

mod connection;
mod deadline;
mod digest;
mod duplex;
mod error;
mod header;
mod key;
mod multiprocessing;
mod plain;

use std::io;
use std::time::Duration;

pub use self::connection::Connection;
pub use self::digest::Digest;
pub use self::duplex::{Duplex, Untimed};
pub use self::error::AuthError;
pub use self::key::Key;
pub use self::multiprocessing::Multiprocessing;
pub use self::plain::Plain;

/// How long a handshake may take, unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// Fresh random bytes from the system.
fn fill_random(bytes: &mut [u8]) -> Result<(), AuthError> {
    getrandom::fill(bytes).map_err(|e| AuthError::Io(io::Error::other(e.to_string())))
}
