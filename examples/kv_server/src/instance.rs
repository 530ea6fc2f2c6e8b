//! What all sessions share: the store, and the numbers for INFO.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::store::Store;

pub struct Instance {
    store: Mutex<Store>,
    clients: AtomicUsize,
    pub connections: AtomicU64,
    pub commands: AtomicU64,
    pub started: Instant,
    pub max_memory: usize,
    /// What the clients hold beyond their first bytes.
    client_memory: AtomicUsize,
    max_client_memory: usize,
    pub max_clients: usize,
}

impl Instance {
    pub fn new(max_memory: usize, max_client_memory: usize, max_clients: usize) -> Self {
        Instance {
            store: Mutex::default(),
            clients: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            started: Instant::now(),
            max_memory,
            client_memory: AtomicUsize::new(0),
            max_client_memory,
            max_clients,
        }
    }

    /// The store, locked, without expired keys.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        let mut store = self.store.lock();
        store.remove_expired(Instant::now());
        store
    }

    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    pub fn client_memory(&self) -> usize {
        self.client_memory.load(Ordering::Relaxed)
    }

    /// Counts more memory of clients, unless the limit would be exceeded.
    pub fn reserve(&self, bytes: usize) -> bool {
        let limit = self.max_client_memory;
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= limit);
        let held = &self.client_memory;
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub fn release(&self, bytes: usize) {
        self.client_memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts one client more, unless the limit is reached.
    pub fn enter(self: &Arc<Self>) -> Option<CountedClient> {
        let client = CountedClient(Arc::clone(self));
        let before = self.clients.fetch_add(1, Ordering::Relaxed);
        (before < self.max_clients).then_some(client)
    }
}

/// Counts one client until it is dropped.
pub struct CountedClient(Arc<Instance>);

impl Drop for CountedClient {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
