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
        self.memory.reserve(bytes.len())?;
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
    /// What it sent before may hide this.
    pub fn is_gone(&self) -> bool {
        let mut polled = [PollFd::new(self.request.as_fd(), PollFlags::POLLIN)];
        let readable = poll(&mut polled, PollTimeout::ZERO);
        if !matches!(readable, Ok(1..)) {
            return false;
        }
        let mut byte = [MaybeUninit::uninit()];
        !matches!(SockRef::from(self.request).peek(&mut byte), Ok(1))
    }
}
