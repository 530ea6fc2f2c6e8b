//! The memory that one client's command and reply use.

use std::borrow::Cow;
use std::cell::Cell;

use socketserver::request::Connection;

use super::instance::Instance;
use super::store::Bytes;

/// What each client may use without being counted: commands and replies are small, unless something is
/// wrong. So small commands work even if other clients have used up the limit.
const FREE: usize = 16 << 10;

pub const EXCEEDED: &str =
    "OOM command not allowed when used memory of clients > 'maxmemory-clients'.";

/// Counts memory until it is dropped, after the reply is sent.
pub struct Memory<'a> {
    instance: &'a Instance,
    client: &'a Connection,
    used: Cell<usize>,
    shares: Cell<bool>,
    moved: Cell<usize>,
}

impl<'a> Memory<'a> {
    pub fn new(instance: &'a Instance, client: &'a Connection) -> Self {
        Memory {
            instance,
            client,
            used: Cell::new(0),
            shares: Cell::new(false),
            moved: Cell::new(0),
        }
    }

    /// Call it before the memory is allocated, or while the store is locked.
    pub fn reserve(&self, bytes: usize) -> Result<(), Cow<'static, str>> {
        let used = self.used.get().saturating_add(bytes);
        let more = counted(used) - counted(self.used.get());
        if more > 0 && !self.instance.reserve(self.client, more, None) {
            return Err(EXCEEDED.into());
        }
        self.used.set(used);
        Ok(())
    }

    /// The same for a value of the store. All replies with a large value share it, so it counts once.
    pub fn share(&self, value: &Bytes) -> Result<(), Cow<'static, str>> {
        if value.len() <= FREE {
            return self.reserve(value.len());
        }
        if !self.instance.reserve(self.client, 0, Some(value)) {
            return Err(EXCEEDED.into());
        }
        self.shares.set(true);
        Ok(())
    }

    /// Call it after this many bytes were read from the client or sent to it.
    pub fn moved(&self, bytes: usize) {
        let moved = self.moved.get() + bytes;
        self.moved.set(moved % FREE);
        if moved >= FREE {
            self.instance.moved(self.client);
        }
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        if counted(self.used.get()) > 0 || self.shares.get() {
            self.instance.release(self.client);
        }
    }
}

fn counted(used: usize) -> usize {
    used.saturating_sub(FREE)
}
