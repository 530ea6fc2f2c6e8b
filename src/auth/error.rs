use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// What goes wrong in a handshake, or with a message after it. It holds no key and no digest.
///
/// `?` turns it into an `io::Error` where one is wanted, of the kind named at each.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthError {
    /// The peer's answer to our challenge is wrong: it does not know the key, or uses another
    /// digest (`PermissionDenied`).
    WrongAnswer,
    /// The peer says that our answer is wrong (`PermissionDenied`).
    Refused,
    /// The handshake was not done within this time (`TimedOut`).
    TimedOut(Duration),
    /// The digest of this name is not supported, or its feature is off (`Unsupported`). A name that
    /// is not well known is not repeated.
    UnsupportedDigest(&'static str),
    /// The peer sent something else than this, which the protocol asks for (`InvalidData`).
    Expected(&'static str),
    /// A message is announced to be longer than it may be (`InvalidData`).
    TooLong {
        /// The length announced, in bytes.
        len: u64,
        /// The most bytes there may be.
        max: usize,
    },
    /// A message is announced with a length below zero (`InvalidData`).
    NegativeLength(i32),
    /// The stream ended inside the handshake or a message (`UnexpectedEof`).
    Truncated {
        /// How many bytes were missing at least.
        missing: usize,
    },
    /// What the stream, or the system's source of random bytes, reports (that error itself).
    Io(io::Error),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::WrongAnswer => {
                f.write_str("the peer's answer to the challenge is wrong: another key or digest")
            }
            AuthError::Refused => {
                f.write_str("the peer refused our answer to its challenge: another key or digest")
            }
            AuthError::TimedOut(limit) => {
                write!(f, "the handshake was not done within {limit:?}")
            }
            AuthError::UnsupportedDigest("md5") => f.write_str(
                "the digest md5, all that Python before 3.12 speaks, is off: see the feature `auth-md5`",
            ),
            AuthError::UnsupportedDigest(name) => {
                write!(f, "the digest {name} is not supported, or its feature is off")
            }
            AuthError::Expected(what) => write!(f, "the peer sent something else than {what}"),
            AuthError::TooLong { len, max } => {
                write!(
                    f,
                    "a message of {len} bytes was announced: {max} are the most"
                )
            }
            AuthError::NegativeLength(len) => {
                write!(f, "a message of negative length was announced: {len}")
            }
            AuthError::Truncated { missing } => write!(
                f,
                "the peer closed the connection with {missing} bytes or more still to come"
            ),
            // The cause is the source; who prints an error's sources would read it twice.
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
            AuthError::WrongAnswer | AuthError::Refused => io::ErrorKind::PermissionDenied,
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
