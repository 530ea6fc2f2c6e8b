//! Messages on a stream: each message has its length in front.
//!
//! A stream carries bytes, not messages: what one end writes in two calls, the other end may read in
//! one call or in twenty. [`Framing`] writes the length of each message before the message, and
//! reads complete messages.
//!
//! It is a codec over [`Read`] and [`Write`] and independent of the servers: a handler uses it on
//! `rfile` and `wfile`, a client on a `TcpStream`. The length is what Python's
//! `struct.pack("!I", len(message))` makes, or another integer format of `struct`: see [`Prefix`].
//!
//! ```
//! use std::net::TcpStream;
//!
//! use socketserver::framing::{Framing, Prefix};
//! use socketserver::prelude::*;
//!
//! const FRAMING: Framing = Framing::new(Prefix::U32);
//!
//! fn shout(request: &mut StreamRequest) -> HandlerResult {
//!     let mut message = Vec::new();
//!     while request.wait_for_data()? && FRAMING.read_into(&mut request.rfile, &mut message)? {
//!         message.make_ascii_uppercase();
//!         FRAMING.write(&mut request.wfile, &message)?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", shout)?.serve_in_background()?;
//!
//! let mut stream = TcpStream::connect(server.server_address())?;
//! FRAMING.write(&mut stream, b"hello")?;
//! FRAMING.write(&mut stream, b"world")?;
//! assert_eq!(FRAMING.read(&mut stream)?, Some(b"HELLO".to_vec()));
//! assert_eq!(FRAMING.read(&mut stream)?, Some(b"WORLD".to_vec()));
//! # Ok(())
//! # }
//! ```

mod error;
mod prefix;

use std::io::ErrorKind::{Interrupted, WriteZero};
use std::io::{self, IoSlice, Read, Write};

pub use self::error::FramingError;
#[doc(alias = "struct")]
pub use self::prefix::Prefix;

/// The format of messages on a stream: the kind of length before each message, and the longest
/// message.
///
/// It holds no state, so one value, or a `const`, serves any number of streams and threads.
#[doc(alias = "length prefix")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Framing {
    prefix: Prefix,
    max_len: usize,
}

impl Framing {
    /// The longest message unless [`max_len`](Self::max_len) sets another limit: 1 MiB.
    pub const DEFAULT_MAX_LEN: usize = 1 << 20;

    /// Messages with this kind of length, of at most [`DEFAULT_MAX_LEN`](Self::DEFAULT_MAX_LEN).
    pub const fn new(prefix: Prefix) -> Self {
        Framing {
            prefix,
            max_len: Self::DEFAULT_MAX_LEN,
        }
    }

    /// Sets the longest message to read or write, in bytes without its length. Default 1 MiB. A
    /// message whose length does not fit into the prefix cannot be written, whatever this limit is.
    pub const fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// Reads one message. Returns `None` if the stream ends before the first byte of a message.
    ///
    /// Blocks until the whole message has arrived. A signal does not interrupt it. It reads no byte
    /// after the message.
    ///
    /// It checks the length before it allocates, and allocates as bytes arrive: a peer that announces
    /// a long message and does not send it costs 64 KiB.
    ///
    /// # Errors
    ///
    /// - [`Negative`](FramingError::Negative), [`TooLong`](FramingError::TooLong): the length is not
    ///   allowed.
    /// - [`EndInPrefix`](FramingError::EndInPrefix), [`EndInMessage`](FramingError::EndInMessage):
    ///   the stream ended too early.
    /// - [`Io`](FramingError::Io): an error of the reader, such as an expired timeout.
    ///
    /// After [`FramingError::TooLong`] only the length was read. After any other error the position in the
    /// stream is unknown: do not read from it again. To wait for a
    /// message with a timeout and continue after it, wait for the first byte with
    /// [`wait_for_data`](crate::StreamRequest::wait_for_data) or
    /// [`fill_buf`](std::io::BufRead::fill_buf), which consume nothing.
    pub fn read<R>(&self, reader: &mut R) -> Result<Option<Vec<u8>>, FramingError>
    where
        R: Read + ?Sized,
    {
        let mut message = Vec::new();
        let found = self.read_into(reader, &mut message)?;
        Ok(found.then_some(message))
    }

    /// Reads one message and replaces the content of `message` with it. Returns `false` if the stream
    /// ends before the first byte of a message. Otherwise it is the same as [`read`](Self::read), but
    /// does not allocate for each message.
    ///
    /// # Errors
    ///
    /// The same as [`read`](Self::read). After an error the content of `message` is unspecified.
    #[inline]
    pub fn read_into<R>(&self, reader: &mut R, message: &mut Vec<u8>) -> Result<bool, FramingError>
    where
        R: Read + ?Sized,
    {
        match self.read_len(reader)? {
            Some(len) => read_message(reader, len, message).map(|()| true),
            None => {
                message.clear();
                Ok(false)
            }
        }
    }

    /// Writes one message, which may be empty. The writer gets length and payload in one call, so
    /// that a socket sends them together. Up to 504 bytes they are copied into one buffer, which is
    /// cheaper than a vectored write; longer payloads are not copied. Does not flush.
    ///
    /// Blocks while the writer blocks. It continues after a signal and after a short write.
    ///
    /// To send one message to many peers, write it to a `Vec<u8>` once and send that.
    ///
    /// # Errors
    ///
    /// - [`PayloadTooLong`](FramingError::PayloadTooLong): the payload is longer than the maximum, or
    ///   its length does not fit into the prefix. Nothing was written.
    /// - [`Io`](FramingError::Io): an error of the writer. A part of the message may have been
    ///   written: do not write to the stream again.
    pub fn write<W>(&self, writer: &mut W, payload: &[u8]) -> Result<(), FramingError>
    where
        W: Write + ?Sized,
    {
        let len = payload.len() as u64;
        let max = self.prefix.max().min(self.max_len as u64);
        if len > max {
            return Err(FramingError::PayloadTooLong { len, max });
        }
        let prefix = self.prefix.encode(len);
        let prefix = &prefix[..self.prefix.width()];
        if payload.len() <= MAX_COPIED {
            write_copied(writer, prefix, payload)?;
        } else {
            write_vectored(writer, prefix, payload)?;
        }
        Ok(())
    }

    #[inline]
    fn read_len<R: Read + ?Sized>(&self, reader: &mut R) -> Result<Option<usize>, FramingError> {
        let width = self.prefix.width();
        let mut bytes = [0; Prefix::MAX_WIDTH];
        let bytes = &mut bytes[..width];
        let received = read_up_to(reader, bytes)?;
        if received == 0 {
            return Ok(None);
        }
        if received < width {
            let missing = width - received;
            return Err(FramingError::EndInPrefix { missing, width });
        }
        let len = self.prefix.decode(bytes)?;
        match usize::try_from(len) {
            Ok(len) if len <= self.max_len => Ok(Some(len)),
            _ => Err(FramingError::TooLong {
                len,
                max: self.max_len as u64,
            }),
        }
    }
}

/// How much memory is allocated for an announced message before its bytes arrive.
const FIRST_ALLOCATION: usize = 65_536;

/// Up to this many bytes, one copy costs less than a vectored write: on Linux a vectored write takes
/// about 20 % of a system call more.
const MAX_COPIED: usize = 504;

/// Reads `len` bytes into `message`. The bytes in `message` are overwritten and not zeroed first, so
/// that a reused buffer costs nothing.
#[inline]
fn read_message<R>(reader: &mut R, len: usize, message: &mut Vec<u8>) -> Result<(), FramingError>
where
    R: Read + ?Sized,
{
    let mut received = 0;
    while received < len {
        let size = received.saturating_mul(2).max(message.len());
        resize(message, size.max(FIRST_ALLOCATION).min(len))?;
        received += read_up_to(reader, &mut message[received..])?;
        if received < message.len() {
            let missing = len - received;
            return Err(FramingError::EndInMessage { missing, len });
        }
    }
    message.truncate(len);
    Ok(())
}

/// Without enough memory, only this message fails, and not the process.
#[inline]
fn resize(message: &mut Vec<u8>, len: usize) -> io::Result<()> {
    if len > message.len() {
        message.try_reserve_exact(len - message.len())?;
        message.resize(len, 0);
    }
    message.truncate(len);
    Ok(())
}

/// Reads until `out` is full or the stream ends. Returns the number of bytes that were read.
#[inline]
pub(crate) fn read_up_to<R: Read + ?Sized>(reader: &mut R, out: &mut [u8]) -> io::Result<usize> {
    match reader.read(out) {
        Ok(n) if n == out.len() => Ok(n),
        first => read_more(reader, out, first),
    }
}

#[cold]
fn read_more<R: Read + ?Sized>(
    reader: &mut R,
    out: &mut [u8],
    mut result: io::Result<usize>,
) -> io::Result<usize> {
    let mut received = 0;
    loop {
        match result {
            Ok(0) => break,
            Ok(n) => received += n,
            Err(e) if e.kind() == Interrupted => {}
            Err(e) => return Err(e),
        }
        if received == out.len() {
            break;
        }
        result = reader.read(&mut out[received..]);
    }
    Ok(received)
}

fn write_copied<W>(writer: &mut W, prefix: &[u8], payload: &[u8]) -> io::Result<()>
where
    W: Write + ?Sized,
{
    let mut both = [0; Prefix::MAX_WIDTH + MAX_COPIED];
    let both = &mut both[..prefix.len() + payload.len()];
    both[..prefix.len()].copy_from_slice(prefix);
    both[prefix.len()..].copy_from_slice(payload);
    writer.write_all(both)
}

/// Writes both with vectored writes until the prefix is written, and then the rest of the payload.
pub(crate) fn write_vectored<W>(
    writer: &mut W,
    mut prefix: &[u8],
    mut payload: &[u8],
) -> io::Result<()>
where
    W: Write + ?Sized,
{
    while !prefix.is_empty() {
        match writer.write_vectored(&[IoSlice::new(prefix), IoSlice::new(payload)]) {
            Ok(0) => {
                return Err(io::Error::new(
                    WriteZero,
                    "the writer accepts no more bytes",
                ));
            }
            Ok(n) => {
                let of_prefix = n.min(prefix.len());
                prefix = &prefix[of_prefix..];
                payload = &payload[n - of_prefix..];
            }
            Err(e) if e.kind() == Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    writer.write_all(payload)
}
