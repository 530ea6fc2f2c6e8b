//! Messages on a stream: each is sent behind its length.
//!
//! A stream has no messages, only bytes: what one end writes in two calls the other may read in
//! one, or in twenty ("sticky packets"). [`Framing`] puts a length in front of each message, and
//! reads messages back whole, however the stream was cut up.
//!
//! It is a codec over [`Read`] and [`Write`] and knows no server: a handler uses it on `rfile` and
//! `wfile`, a client on a `TcpStream`. The length is what Python's `struct.pack("!I", len(message))`
//! makes, or any other integer of `struct`'s: see [`Prefix`].
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
mod whole;

use std::io::{Read, Write};

pub use self::error::FramingError;
pub use self::prefix::Prefix;
use self::whole::{read_message, read_up_to, write_both};

/// How messages are marked off on a stream: the kind of length in front of each, and the longest
/// message there may be.
///
/// It holds no state, so one value, or a `const`, serves any number of streams and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Framing {
    prefix: Prefix,
    max_len: usize,
}

impl Framing {
    /// The longest message unless [`max_len`](Self::max_len) says otherwise: 1 MiB.
    pub const DEFAULT_MAX_LEN: usize = 1 << 20;

    /// Messages behind this kind of length, of at most [`DEFAULT_MAX_LEN`](Self::DEFAULT_MAX_LEN).
    pub const fn new(prefix: Prefix) -> Self {
        Framing {
            prefix,
            max_len: Self::DEFAULT_MAX_LEN,
        }
    }

    /// Sets the longest message that is read or written, in bytes and without its length. Default
    /// 1 MiB. What the prefix cannot express stays too long to be written.
    pub const fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// Reads one message; `None` if the stream ends where a message would begin.
    ///
    /// Blocks until all of the message is there; goes on after a signal. No byte behind it is
    /// taken.
    ///
    /// A length over the maximum is refused before anything is allocated for it, and the memory
    /// that is allocated grows with what arrives: a peer that announces a long message and does not
    /// send it costs 64 KiB.
    ///
    /// # Errors
    ///
    /// - [`Negative`](FramingError::Negative), [`TooLong`](FramingError::TooLong): the length.
    /// - [`EndInPrefix`](FramingError::EndInPrefix), [`EndInMessage`](FramingError::EndInMessage):
    ///   the stream ended too early.
    /// - [`Io`](FramingError::Io): what the reader reports, an expired timeout included.
    ///
    /// After each of them the place of the next message is lost, and the stream is of no more use
    /// for reading. To wait for a message with a timeout and then go on, wait for its first byte in
    /// a way that takes nothing: [`wait_for_data`](crate::StreamRequest::wait_for_data) or
    /// [`fill_buf`](std::io::BufRead::fill_buf).
    pub fn read<R>(&self, reader: &mut R) -> Result<Option<Vec<u8>>, FramingError>
    where
        R: Read + ?Sized,
    {
        let mut message = Vec::new();
        let there = self.read_into(reader, &mut message)?;
        Ok(there.then_some(message))
    }

    /// Reads one message into `message`, in place of what that held; `false` if the stream ends
    /// where a message would begin. Otherwise it is [`read`](Self::read) without an allocation for
    /// each message.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read). What `message` then holds means nothing.
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

    /// Writes one message, the empty one too. Length and payload go to the writer in one call, so
    /// that a socket sends them together: a vectored write, which copies nothing, or for payloads up
    /// to 504 bytes a plain write of both, which costs less. Nothing is flushed.
    ///
    /// Blocks while the writer does; goes on after a signal and after a short write.
    ///
    /// To send one message to many, write it to a `Vec<u8>` once, and send that.
    ///
    /// # Errors
    ///
    /// - [`PayloadTooLong`](FramingError::PayloadTooLong): longer than the maximum, or than the
    ///   prefix can express. Nothing was written.
    /// - [`Io`](FramingError::Io): what the writer reports. Part of the message may have been
    ///   written, so the stream is of no more use for writing.
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
        write_both(writer, prefix, payload)?;
        Ok(())
    }

    #[inline]
    fn read_len<R: Read + ?Sized>(&self, reader: &mut R) -> Result<Option<usize>, FramingError> {
        let width = self.prefix.width();
        let mut bytes = [0; Prefix::MAX_WIDTH];
        let bytes = &mut bytes[..width];
        let arrived = read_up_to(reader, bytes)?;
        if arrived == 0 {
            return Ok(None);
        }
        if arrived < width {
            let missing = width - arrived;
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
