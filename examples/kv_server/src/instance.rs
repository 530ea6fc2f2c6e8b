//! What all sessions share: the store, and the numbers for INFO.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use socketserver::request::Connection;

use super::store::Store;

pub struct Instance {
    store: Mutex<Store>,
    clients: AtomicUsize,
    pub connections: AtomicU64,
    pub commands: AtomicU64,
    pub started: Instant,
    pub max_memory: usize,
    /// The clients that use more than their first bytes, by the number of their connection.
    holders: Mutex<HashMap<u64, Holder>>,
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
            holders: Mutex::default(),
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
        total(&self.holders.lock())
    }

    /// Counts more memory for a client, unless the limit would be exceeded. Then the client that uses most
    /// is disconnected, so that those that do not read cannot hinder the others for long.
    pub fn reserve(&self, client: &Connection, bytes: usize) -> bool {
        let mut holders = self.holders.lock();
        if total(&holders).saturating_add(bytes) <= self.max_client_memory {
            let holder = holders.entry(client.id()).or_insert_with(|| Holder {
                connection: client.clone(),
                bytes: 0,
            });
            holder.bytes += bytes;
            return true;
        }
        let used = holders.get(&client.id()).map_or(0, |holder| holder.bytes);
        let largest = holders.values().max_by_key(|holder| holder.bytes);
        let largest = largest.filter(|largest| largest.bytes >= used.saturating_add(bytes));
        if let Some(Holder { connection, .. }) = largest {
            log::warn!(
                "{}: uses most memory, and is dropped",
                connection.client_address()
            );
            // An error means that it has ended already.
            let _ = connection.shutdown();
        }
        false
    }

    pub fn release(&self, client: &Connection) {
        self.holders.lock().remove(&client.id());
    }

    /// Counts one client more, unless the limit is reached.
    pub fn enter(self: &Arc<Self>) -> Option<CountedClient> {
        let client = CountedClient(Arc::clone(self));
        let before = self.clients.fetch_add(1, Ordering::Relaxed);
        (before < self.max_clients).then_some(client)
    }
}

struct Holder {
    connection: Connection,
    bytes: usize,
}

fn total(holders: &HashMap<u64, Holder>) -> usize {
    holders.values().map(|holder| holder.bytes).sum()
}

/// Counts one client until it is dropped.
pub struct CountedClient(Arc<Instance>);

impl Drop for CountedClient {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
