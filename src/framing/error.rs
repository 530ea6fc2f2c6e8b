use std::error::Error;
use std::fmt;
use std::io;

/// Why a message could not be read or written. Lengths are in bytes, without the prefix.
///
/// `?` converts it to an [`io::Error`]: [`Io`](Self::Io) to the error that it contains, each other
/// variant to the kind that is named there.
#[derive(Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// The reader or writer failed. The source is that error.
    Io(io::Error),
    /// The stream ended inside the length of a message. `UnexpectedEof`.
    EndInPrefix {
        /// How many bytes of the length are missing.
        missing: usize,
        /// How many bytes the length has.
        width: usize,
    },
    /// The stream ended inside a message. `UnexpectedEof`.
    EndInMessage {
        /// How many bytes of the message are missing.
        missing: usize,
        /// How many bytes the message has.
        len: usize,
    },
    /// The peer announced a message of negative length. `InvalidData`.
    Negative(i64),
    /// The peer announced a message longer than the maximum. `InvalidData`.
    TooLong {
        /// The announced length.
        len: u64,
        /// The maximum.
        max: u64,
    },
    /// A message to write is longer than the maximum, or its length does not fit into the prefix.
    /// `InvalidInput`.
    PayloadTooLong {
        /// The message's length.
        len: u64,
        /// The maximum.
        max: u64,
    },
    /// The text is not a [`Prefix`](super::Prefix). `InvalidInput`.
    UnknownPrefix(Box<str>),
}

impl FramingError {
    /// The kind of the `io::Error` that it is converted to.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io(error) => error.kind(),
            Self::EndInPrefix { .. } | Self::EndInMessage { .. } => io::ErrorKind::UnexpectedEof,
            Self::Negative(_) | Self::TooLong { .. } => io::ErrorKind::InvalidData,
            Self::PayloadTooLong { .. } | Self::UnknownPrefix(_) => io::ErrorKind::InvalidInput,
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // An error report prints the source after this text.
            Self::Io(_) => f.write_str("reading or writing a message failed"),
            Self::EndInPrefix { missing, width } => write!(
                f,
                "the stream ended inside the length of a message: {missing} of {width} bytes are missing"
            ),
            Self::EndInMessage { missing, len } => write!(
                f,
                "the stream ended inside a message: {missing} of {len} bytes are missing"
            ),
            Self::Negative(len) => {
                write!(f, "the announced length of a message is negative: {len}")
            }
            Self::TooLong { len, max } => write!(
                f,
                "the announced message is too long: {len} bytes, {max} at most"
            ),
            Self::PayloadTooLong { len, max } => write!(
                f,
                "the message to send is too long: {len} bytes, {max} at most"
            ),
            Self::UnknownPrefix(format) => write!(
                f,
                "{format:?} is not a length format of Python's struct: use b B h H i I l L q Q \
                 after an optional @ = < > or !, or n N alone"
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
        match error {
            FramingError::Io(error) => error,
            error => io::Error::new(error.kind(), error),
        }
    }
}
