//! The client whose command runs.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;
use socketserver::prelude::*;

use super::instance::Instance;
use super::memory::Memory;
use super::reply::{Outcome, Reply};
use super::store::Bytes;

pub struct Client<'a> {
    pub instance: &'a Instance,
    pub memory: &'a Memory<'a>,
    pub request: &'a StreamRequest,
}

impl Client<'_> {
    /// Whether the store has room for what is in the command.
    pub fn may_write(&self) -> bool {
        let used = self.instance.store().used();
        used.saturating_add(self.memory.used()) <= self.instance.max_memory
    }

    pub fn bulk(&self, bytes: Bytes) -> Outcome {
        self.memory.share(&bytes)?;
        Ok(Reply::Bulk(bytes))
    }

    /// An array of texts, whose memory is counted before it is used.
    pub fn array<'b, I>(&self, items: I) -> Outcome
    where
        I: Iterator<Item = Option<&'b Bytes>> + Clone,
    {
        let length = |item: Option<&Bytes>| item.map_or(0, |bytes| bytes.len());
        let size = |item| size_of::<Reply>() + length(item);
        self.memory.reserve(items.clone().map(size).sum())?;
        let mut replies = Vec::with_capacity(items.clone().count());
        replies.extend(items.map(|item| item.cloned().map_or(Reply::Null, Reply::Bulk)));
        Ok(Reply::Array(replies))
    }

    /// Whether the client has closed the connection, or its side of it: as for Redis, that is the same.
    pub fn is_gone(&self) -> bool {
        let events = PollFlags::POLLIN | PEER_CLOSED;
        let mut polled = [PollFd::new(self.request.as_fd(), events)];
        if !matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..)) {
            return false;
        }
        let ended = PollFlags::POLLHUP | PollFlags::POLLERR;
        // `nix` does not know POLLRDHUP, and returns `None` for it.
        if polled[0]
            .revents()
            .is_none_or(|found| found.intersects(ended))
        {
            return true;
        }
        let mut byte = [MaybeUninit::uninit()];
        !matches!(SockRef::from(self.request).peek(&mut byte), Ok(1))
    }
}

/// Reports the end of the stream even if data before it is still to be read. Other systems report POLLHUP.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
const PEER_CLOSED: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
const PEER_CLOSED: PollFlags = PollFlags::empty();
