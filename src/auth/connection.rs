use std::fmt;
use std::io::{self, IoSlice, Read, Write};

use super::header::Header;
use super::{AuthError, Duplex};

/// Messages of bytes over a stream, as Python's `multiprocessing.connection.Connection` sends them:
/// each behind its length.
///
/// [`Multiprocessing`](super::Multiprocessing) makes one after its handshake. Python's `send` and
/// `recv` put a pickle into such a message; what to do with one is for a pickle crate to say.
///
/// ```
/// use socketserver::auth::{Connection, Untimed};
///
/// let sent: &[u8] = b"\x00\x00\x00\x05hello";
/// let mut connection = Connection::new(Untimed::new(sent, std::io::sink()));
/// assert_eq!(connection.recv_bytes()?, Some(b"hello".to_vec()));
/// assert_eq!(connection.recv_bytes()?, None);
/// # Ok::<(), socketserver::auth::AuthError>(())
/// ```
pub struct Connection<D> {
    stream: D,
    max_len: usize,
}

impl<D: Duplex> Connection<D> {
    /// Without a handshake: the other side is Python's without an `authkey`.
    pub fn new(stream: D) -> Self {
        Connection {
            stream,
            max_len: 16 << 20,
        }
    }

    /// The longest message that is received, in bytes. Default 16 MiB, more than `framing` takes,
    /// for pickles of arrays are long. (Python: no limit.)
    #[doc(alias = "maxlength")]
    pub fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// Receives one message; `None` at the end of the stream.
    ///
    /// Blocks until the whole message is there, at most for the stream's read timeout at a time.
    /// Memory is taken as bytes arrive, not as they are announced.
    ///
    /// # Errors
    ///
    /// [`TooLong`](AuthError::TooLong) before anything of the message is read,
    /// [`NegativeLength`](AuthError::NegativeLength), [`Truncated`](AuthError::Truncated), and what
    /// the stream reports. After any of them, a timeout too, the place in the stream is lost: close
    /// it.
    pub fn recv_bytes(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        /// The most that is taken on the word of a header.
        const AT_FIRST: usize = 64 << 10;
        let reader = self.stream.reader();
        let mut first = [0; 4];
        match fill(reader, &mut first)? {
            0 => return Ok(None),
            n => complete(n, first.len())?,
        }
        let length = Header::read(first, self.max_len, |more| {
            let n = fill(reader, more)?;
            complete(n, more.len())
        })?;
        let mut message = Vec::with_capacity(length.min(AT_FIRST));
        reader.take(length as u64).read_to_end(&mut message)?;
        complete(message.len(), length)?;
        Ok(Some(message))
    }

    /// Sends one message, the empty one too; header and message in one piece where the stream can.
    ///
    /// Blocks while the peer does not read, at most for the stream's write timeout at a time.
    ///
    /// # Errors
    ///
    /// What the stream reports. The message may have been sent in part then: close the stream.
    pub fn send_bytes(&mut self, message: &[u8]) -> Result<(), AuthError> {
        let header = Header::new(message.len());
        Ok(write_both(self.stream.writer(), header.bytes(), message)?)
    }

    /// The stream under it.
    pub fn get_ref(&self) -> &D {
        &self.stream
    }

    /// The stream under it, for what a connection does not do: a handler waits for the next message
    /// with `connection.get_mut().wait_for_data()?`.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.stream
    }

    /// The stream, after the last message that was received.
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

/// Reads until the buffer is full or the stream ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut received = 0;
    while received < buffer.len() {
        match reader.read(&mut buffer[received..]) {
            Ok(0) => break,
            Ok(n) => received += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(received)
}

fn complete(received: usize, length: usize) -> Result<(), AuthError> {
    match length - received {
        0 => Ok(()),
        missing => Err(AuthError::Truncated { missing }),
    }
}

/// In one call if the writer can: a header alone would leave TCP waiting for its acknowledgement
/// before it sends the rest.
fn write_both(writer: &mut dyn Write, header: &[u8], message: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < header.len() {
        let both = [IoSlice::new(&header[sent..]), IoSlice::new(message)];
        match writer.write_vectored(&both) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => sent += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    writer.write_all(&message[sent - header.len()..])?;
    writer.flush()
}
