use std::error::Error;
use std::fmt;
use std::io;

/// Why a message could not be read or written. Lengths are in bytes, without the prefix.
///
/// It becomes an [`io::Error`] where one is needed: an [`Io`](Self::Io) the error it holds, the
/// others one of the kind that each names.
#[derive(Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// The reader or writer failed: see the source.
    Io(io::Error),
    /// The stream ended inside a length. `UnexpectedEof`.
    EndInPrefix {
        /// How many bytes of it are missing.
        missing: usize,
        /// How many it should have been.
        width: usize,
    },
    /// The stream ended inside a message. `UnexpectedEof`.
    EndInMessage {
        /// How many bytes of it are missing.
        missing: usize,
        /// How many it should have been.
        len: usize,
    },
    /// The peer announced a message of negative length. `InvalidData`.
    Negative(i64),
    /// The peer announced a message over the maximum. `InvalidData`.
    TooLong {
        /// What was announced.
        len: u64,
        /// The maximum.
        max: u64,
    },
    /// A message to be written is over the maximum, or over what the prefix can express.
    /// `InvalidInput`.
    PayloadTooLong {
        /// The message's length.
        len: u64,
        /// The most there may be.
        max: u64,
    },
    /// A text that is no [`Prefix`](super::Prefix). `InvalidInput`.
    UnknownPrefix(Box<str>),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What it was is the source's to say, and a report prints sources.
            Self::Io(_) => f.write_str("the stream of messages failed"),
            Self::EndInPrefix { missing, width } => write!(
                f,
                "the stream ended inside a message's length: {missing} of {width} bytes are missing"
            ),
            Self::EndInMessage { missing, len } => write!(
                f,
                "the stream ended inside a message: {missing} of {len} bytes are missing"
            ),
            Self::Negative(len) => write!(f, "a message of negative length was announced: {len}"),
            Self::TooLong { len, max } => write!(
                f,
                "a message of {len} bytes was announced: {max} are the most"
            ),
            Self::PayloadTooLong { len, max } => write!(
                f,
                "a message of {len} bytes is too long to be sent: {max} are the most"
            ),
            Self::UnknownPrefix(format) => write!(
                f,
                "{format:?} is no length in struct's notation: one of b B h H i I l L q Q, \
                 with @ = < > or ! in front, or n N without"
            ),
        }
    }
}

impl Error for FramingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for FramingError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FramingError> for io::Error {
    fn from(error: FramingError) -> Self {
        let kind = match error {
            FramingError::Io(error) => return error,
            FramingError::EndInPrefix { .. } | FramingError::EndInMessage { .. } => {
                io::ErrorKind::UnexpectedEof
            }
            FramingError::Negative(_) | FramingError::TooLong { .. } => io::ErrorKind::InvalidData,
            FramingError::PayloadTooLong { .. } | FramingError::UnknownPrefix(_) => {
                io::ErrorKind::InvalidInput
            }
        };
        io::Error::new(kind, error)
    }
}
