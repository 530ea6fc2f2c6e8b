use std::fmt;
use std::io::Read;

use super::{AuthError, Duplex};
use crate::framing::{read_up_to, write_vectored};

/// Messages of bytes over a stream, in the format of Python's `multiprocessing.connection.Connection`:
/// each message has its length in front.
///
/// [`Multiprocessing`](super::Multiprocessing) makes one after its handshake. Python's `send` and
/// `recv` put a pickle into such a message. This crate does not decode pickles: use a pickle crate.
///
/// ```
/// use socketserver::auth::Connection;
///
/// let sent: &[u8] = b"\x00\x00\x00\x05hello";
/// let mut connection = Connection::new((sent, std::io::sink()));
/// assert_eq!(connection.recv_bytes()?, Some(b"hello".to_vec()));
/// assert_eq!(connection.recv_bytes()?, None);
/// # Ok::<(), socketserver::auth::AuthError>(())
/// ```
pub struct Connection<D> {
    stream: D,
    max_len: usize,
}

impl<D: Duplex> Connection<D> {
    /// Makes a connection without a handshake: the peer is a Python program without an `authkey`.
    pub fn new(stream: D) -> Self {
        Connection {
            stream,
            max_len: 16 << 20,
        }
    }

    /// Sets the longest message to receive, in bytes. Default 16 MiB, because pickles of arrays are
    /// long. (Python: no limit.)
    #[doc(alias = "maxlength")]
    pub fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// Receives one message. Returns `None` at the end of the stream.
    ///
    /// Blocks until the whole message has arrived. The stream's read timeout limits each wait for more
    /// bytes. It allocates as bytes arrive, not the announced length at once.
    ///
    /// # Errors
    ///
    /// [`TooLong`](AuthError::TooLong), before any byte of the message is read;
    /// [`NegativeLength`](AuthError::NegativeLength); [`Truncated`](AuthError::Truncated); errors of
    /// the stream. After an error or a timeout the position in the stream is unknown: close the stream.
    pub fn recv_bytes(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        /// How much memory is allocated for an announced message before its bytes arrive.
        const FIRST_ALLOCATION: usize = 64 << 10;
        let reader = self.stream.reader();
        let mut first = [0; 4];
        match read_up_to(reader, &mut first)? {
            0 => return Ok(None),
            n => check_complete(n, first.len())?,
        }
        let length = Header::read(first, self.max_len, |more| {
            let n = read_up_to(reader, more)?;
            check_complete(n, more.len())
        })?;
        let mut message = Vec::with_capacity(length.min(FIRST_ALLOCATION));
        reader.take(length as u64).read_to_end(&mut message)?;
        check_complete(message.len(), length)?;
        Ok(Some(message))
    }

    /// Sends one message, which may be empty. The writer gets header and message in one call, so that
    /// a socket sends them together.
    ///
    /// Blocks while the peer does not read. The stream's write timeout limits each wait.
    ///
    /// # Errors
    ///
    /// What the stream reports. A part of the message may have been sent: close the stream.
    pub fn send_bytes(&mut self, message: &[u8]) -> Result<(), AuthError> {
        let header = Header::new(message.len());
        let writer = self.stream.writer();
        write_vectored(writer, header.bytes(), message)?;
        Ok(writer.flush()?)
    }

    /// The stream of this connection.
    pub fn get_ref(&self) -> &D {
        &self.stream
    }

    /// The stream of this connection. A handler waits for the next message with
    /// `connection.get_mut().wait_for_data()?`.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.stream
    }

    /// Returns the stream, positioned after the last received message.
    pub fn into_inner(self) -> D {
        self.stream
    }
}

impl<D> fmt::Debug for Connection<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("max_len", &self.max_len)
            .finish_non_exhaustive()
    }
}

fn check_complete(received: usize, length: usize) -> Result<(), AuthError> {
    match length - received {
        0 => Ok(()),
        missing => Err(AuthError::Truncated { missing }),
    }
}

/// The header of a message: its length as a signed 32-bit integer; or −1, and then the length as an
/// unsigned 64-bit integer. Both are big-endian.
pub(super) struct Header {
    bytes: [u8; 12],
    len: usize,
}

impl Header {
    /// The longest message with a header of four bytes.
    const MAX_SHORT: usize = 0x7fff_ffff;

    /// The first four bytes of a header of twelve bytes.
    const EXTENDED: i32 = -1;

    pub(super) fn new(message: usize) -> Self {
        let mut bytes = [0; 12];
        let len = if message > Self::MAX_SHORT {
            bytes[..4].copy_from_slice(&Self::EXTENDED.to_be_bytes());
            bytes[4..].copy_from_slice(&(message as u64).to_be_bytes());
            12
        } else {
            bytes[..4].copy_from_slice(&(message as u32).to_be_bytes());
            4
        };
        Header { bytes, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Decodes a header whose first four bytes are `first`. `read_more` reads the other eight, if there
    /// are any.
    pub(super) fn read(
        first: [u8; 4],
        max: usize,
        read_more: impl FnOnce(&mut [u8; 8]) -> Result<(), AuthError>,
    ) -> Result<usize, AuthError> {
        let len = match i32::from_be_bytes(first) {
            Self::EXTENDED => {
                let mut bytes = [0; 8];
                read_more(&mut bytes)?;
                u64::from_be_bytes(bytes)
            }
            len => u64::try_from(len).map_err(|_| AuthError::NegativeLength(len))?,
        };
        let fits = usize::try_from(len).ok().filter(|n| *n <= max);
        fits.ok_or(AuthError::TooLong { len, max })
    }
}
