//! Reads and writes of everything or an error, over streams that move a part at a time.

use std::io::ErrorKind::{Interrupted, WriteZero};
use std::io::{self, IoSlice, Read, Write};

use super::{FramingError, Prefix};

/// How much memory a message gets on the strength of its length alone, in bytes. What is longer
/// gets more as it arrives.
const ON_CREDIT: usize = 65_536;

/// Up to this many bytes, joining a payload to its length costs less than a vectored write does: on
/// Linux some 20 % of a system call.
const SHORT: usize = 504;

/// Reads `len` bytes into `message`, in place of what it holds. Bytes that it has already are read
/// over, so that a buffer in use is not zeroed each time.
#[inline]
pub(super) fn read_message<R>(
    reader: &mut R,
    len: usize,
    message: &mut Vec<u8>,
) -> Result<(), FramingError>
where
    R: Read + ?Sized,
{
    let mut arrived = 0;
    while arrived < len {
        let room = arrived.saturating_mul(2).max(message.len()).max(ON_CREDIT);
        resize(message, room.min(len))?;
        arrived += read_up_to(reader, &mut message[arrived..])?;
        if arrived < message.len() {
            let missing = len - arrived;
            return Err(FramingError::EndInMessage { missing, len });
        }
    }
    message.truncate(len);
    Ok(())
}

/// Out of memory is an error for one peer, not the end of the process.
#[inline]
fn resize(message: &mut Vec<u8>, len: usize) -> io::Result<()> {
    if len > message.len() {
        message.try_reserve_exact(len - message.len())?;
        message.resize(len, 0);
    }
    message.truncate(len);
    Ok(())
}

/// Fills `out`, unless the stream ends; returns how much of it was filled.
#[inline]
pub(super) fn read_up_to<R: Read + ?Sized>(reader: &mut R, out: &mut [u8]) -> io::Result<usize> {
    match reader.read(out) {
        Ok(n) if n == out.len() => Ok(n),
        first => go_on_reading(reader, out, first),
    }
}

#[cold]
fn go_on_reading<R: Read + ?Sized>(
    reader: &mut R,
    out: &mut [u8],
    mut result: io::Result<usize>,
) -> io::Result<usize> {
    let mut arrived = 0;
    loop {
        match result {
            Ok(0) => break,
            Ok(n) => arrived += n,
            Err(e) if e.kind() == Interrupted => {}
            Err(e) => return Err(e),
        }
        if arrived == out.len() {
            break;
        }
        result = reader.read(&mut out[arrived..]);
    }
    Ok(arrived)
}

/// Writes the two as one.
pub(super) fn write_both<W>(writer: &mut W, prefix: &[u8], payload: &[u8]) -> io::Result<()>
where
    W: Write + ?Sized,
{
    if payload.len() <= SHORT {
        write_joined(writer, prefix, payload)
    } else {
        write_vectored(writer, prefix, payload)
    }
}

fn write_joined<W>(writer: &mut W, prefix: &[u8], payload: &[u8]) -> io::Result<()>
where
    W: Write + ?Sized,
{
    let mut both = [0; Prefix::MAX_WIDTH + SHORT];
    let both = &mut both[..prefix.len() + payload.len()];
    both[..prefix.len()].copy_from_slice(prefix);
    both[prefix.len()..].copy_from_slice(payload);
    writer.write_all(both)
}

/// Once the prefix is out, the rest of the payload is one `write_all`.
fn write_vectored<W>(writer: &mut W, mut prefix: &[u8], mut payload: &[u8]) -> io::Result<()>
where
    W: Write + ?Sized,
{
    while !prefix.is_empty() {
        match writer.write_vectored(&[IoSlice::new(prefix), IoSlice::new(payload)]) {
            Ok(0) => return Err(io::Error::new(WriteZero, "the writer takes no more")),
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
