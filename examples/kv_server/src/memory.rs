//! The memory that one client's command and reply use.

use std::borrow::Cow;
use std::cell::Cell;

use socketserver::request::Connection;

use super::instance::Instance;

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
}

impl<'a> Memory<'a> {
    pub fn new(instance: &'a Instance, client: &'a Connection) -> Self {
        Memory {
            instance,
            client,
            used: Cell::new(0),
        }
    }

    /// Call it before the memory is allocated, or while the store is locked.
    pub fn reserve(&self, bytes: usize) -> Result<(), Cow<'static, str>> {
        let used = self.used.get().saturating_add(bytes);
        let more = counted(used) - counted(self.used.get());
        if more > 0 && !self.instance.reserve(self.client, more) {
            return Err(EXCEEDED.into());
        }
        self.used.set(used);
        Ok(())
    }

    pub fn used(&self) -> usize {
        self.used.get()
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        if counted(self.used.get()) > 0 {
            self.instance.release(self.client);
        }
    }
}

fn counted(used: usize) -> usize {
    used.saturating_sub(FREE)
}
