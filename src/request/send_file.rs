//! Sending files.

use std::fs::File;
use std::io::{self, Write};
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use socket2::SockRef;

use super::conn::Conn;
use super::send::{Sender, WriteGuard};
use super::state::Flag;
use super::transport::{Transport, uninterrupted};
use crate::green;
use crate::sys::{signals, stream};

/// The write timeout begins again after so many bytes. Where the system cannot send from the file, so many are read
/// at once.
const PIECE: usize = 64 << 10;

/// How many bytes one call of the system sends, so that they are counted while a long file is sent.
const MAX_CALL: usize = 1 << 20;

impl Conn {
    /// Buffers or sends a part of a file. Returns its length.
    pub(super) fn send_file(&self, file: &File, range: impl RangeBounds<u64>) -> io::Result<u64> {
        let mut part = FilePart::new(file, range);
        self.write_as_handler(|guard| guard.send_file(&mut part))?;
        Ok(part.done)
    }
}

/// A part of a file, and how much of it is sent.
struct FilePart<'a> {
    file: &'a File,
    start: u64,
    /// `None`: up to the end of the file, wherever that is.
    length: Option<u64>,
    done: u64,
}

impl<'a> FilePart<'a> {
    fn new(file: &'a File, range: impl RangeBounds<u64>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => Some(last.saturating_add(1)),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => None,
        };
        FilePart {
            file,
            start,
            length: end.map(|end| end.saturating_sub(start)),
            done: 0,
        }
    }

    fn offset(&self) -> u64 {
        self.start + self.done
    }

    /// How many bytes to send at once, at most `max`. 0 when all is sent.
    fn next_length(&self, max: usize) -> usize {
        let left = self.length.map_or(u64::MAX, |length| length - self.done);
        usize::try_from(left).unwrap_or(max).min(max)
    }

    /// `sent` bytes are sent. Returns whether there may be more.
    fn advance(&mut self, sent: usize) -> io::Result<bool> {
        self.done += sent as u64;
        if sent == 0 && self.length.is_some() {
            return Err(self.too_short());
        }
        Ok(sent > 0)
    }

    fn too_short(&self) -> io::Error {
        let (start, length) = (self.start, self.length.unwrap_or(0));
        let text = format!("the file has no {length} bytes from byte {start} on");
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }
}

impl WriteGuard<'_> {
    fn send_file(&mut self, part: &mut FilePart<'_>) -> io::Result<()> {
        if self.buffer_file(part)? {
            return Ok(());
        }
        self.flush()?;
        let sender = self.sender()?;
        self.begin.set(self.conn.bytes.totals().1);
        // A thread that reads meanwhile would notice how a task sends from a file.
        if green::current().is_some() && self.conn.state.has(Flag::Split) {
            return self.copy_file(sender, part);
        }
        match self.send_from_file(&sender, part) {
            Err(error) if is_unsupported(&error) => self.copy_file(sender, part),
            sent => sent,
        }
    }

    /// Buffers a part that is known to be shorter than the buffer, as other writes do. Returns whether it did.
    fn buffer_file(&mut self, part: &mut FilePart<'_>) -> io::Result<bool> {
        let capacity = self.conn.wbufsize;
        let length = part.next_length(capacity);
        if length == capacity {
            return Ok(false);
        }
        if length > capacity - self.data.len() {
            self.flush()?;
        }
        let begin = self.data.len();
        self.data.resize(begin + length, 0);
        if let Err(error) = part.file.read_exact_at(&mut self.data[begin..], part.start) {
            self.data.truncate(begin);
            let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
            return Err(if is_short { part.too_short() } else { error });
        }
        part.done = length as u64;
        self.conn.state.set(Flag::Unsent, !self.data.is_empty());
        Ok(true)
    }

    /// The system sends from the file.
    fn send_from_file(&self, sender: &Sender<'_>, part: &mut FilePart<'_>) -> io::Result<()> {
        let mut in_piece = 0;
        loop {
            let length = part.next_length(MAX_CALL);
            if length == 0 {
                return Ok(());
            }
            let sent = sender.send(|to| to.try_send_file(part.file, part.offset(), length))?;
            if !part.advance(sent)? {
                return Ok(());
            }
            in_piece += sent;
            if in_piece >= PIECE {
                in_piece = 0;
                self.deadline.restart();
            }
            green::spend_budget(sent);
        }
    }

    fn copy_file(&self, mut sender: Sender<'_>, part: &mut FilePart<'_>) -> io::Result<()> {
        let mut piece = vec![0; part.next_length(PIECE)];
        loop {
            let length = part.next_length(PIECE);
            if length == 0 {
                return Ok(());
            }
            let read = uninterrupted(|| part.file.read_at(&mut piece[..length], part.offset()))?;
            sender.write_all(&piece[..read])?;
            if !part.advance(read)? {
                return Ok(());
            }
            self.deadline.restart();
            green::spend_budget(read);
        }
    }
}

/// Whether the file can only be read: it is not of a kind that the system sends from, or the connection is encrypted.
fn is_unsupported(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported)
}

impl Transport {
    /// Sends what there is space for. Fails with `WouldBlock` if there is none, and with `Unsupported` or
    /// `InvalidInput` where the file can only be read.
    fn try_send_file(&self, file: &File, offset: u64, length: usize) -> io::Result<usize> {
        // The call has no `MSG_NOSIGNAL`. What a program with the descriptor has set must not change for a moment.
        let is_exposed = self.are_options_unknown();
        if self.session().is_some() || is_exposed || !signals::is_ignored(libc::SIGPIPE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.without_blocking(|| uninterrupted(|| stream::sendfile(self, file, offset, length)))
    }

    /// The call has no `MSG_DONTWAIT` either. A task must not block its worker, so the socket is non-blocking for the
    /// moment; the task does not read meanwhile. With threads another one may read. There the call waits for at most
    /// one tick of the system's clock, because its timeout is as short as possible.
    fn without_blocking(&self, send: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        if green::current().is_some() {
            self.set_nonblocking(true)?;
            let sent = send();
            self.set_nonblocking(false)?;
            return sent;
        }
        SockRef::from(self).set_write_timeout(Some(Duration::from_micros(1)))?;
        let sent = send();
        SockRef::from(self).set_write_timeout(None)?;
        sent
    }
}
