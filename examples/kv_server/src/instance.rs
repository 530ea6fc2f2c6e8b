//! What all sessions share: the store, and the figures that INFO tells.

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
    pub max_clients: usize,
}

impl Instance {
    pub fn new(max_memory: usize, max_clients: usize) -> Self {
        Instance {
            store: Mutex::default(),
            clients: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            started: Instant::now(),
            max_memory,
            max_clients,
        }
    }

    /// The store as it is now: what has expired is not in it.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        let mut store = self.store.lock();
        store.remove_expired(Instant::now());
        store
    }

    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// A place for one client, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let place = Place(Arc::clone(self));
        let before = self.clients.fetch_add(1, Ordering::Relaxed);
        (before < self.max_clients).then_some(place)
    }
}

/// Taken by a client until it is dropped.
pub struct Place(Arc<Instance>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
