//! What all sessions share: the store, and the numbers for INFO.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use socketserver::request::Connection;

use super::store::{Bytes, Store};

/// After this time without a byte from the client or to it, its memory may be taken for another one.
const STALLED: Duration = Duration::from_secs(1);

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
        store.remove_expired();
        store
    }

    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    pub fn client_memory(&self) -> usize {
        total(&self.holders.lock())
    }

    /// Counts more memory for a client, and a value that it shares with others, unless the limit would be
    /// exceeded. Then the stalled client that uses most is disconnected, so that those that do not read
    /// cannot hinder the others for long.
    pub fn reserve(&self, client: &Connection, bytes: usize, value: Option<&Bytes>) -> bool {
        let mut holders = self.holders.lock();
        let is_counted = |value: &&Bytes| holders.values().any(|holder| holder.shares(value));
        let shared = value.filter(|value| !is_counted(value));
        let more = bytes.saturating_add(shared.map_or(0, |value| value.len()));
        if total(&holders).saturating_add(more) > self.max_client_memory {
            let used = holders.get(&client.id()).map_or(0, Holder::size);
            drop_largest(&mut holders, used.saturating_add(more));
            return false;
        }
        let holder = holders
            .entry(client.id())
            .or_insert_with(|| Holder::new(client));
        holder.bytes += bytes;
        holder.value = value.cloned().or(holder.value.take());
        holder.moved = Instant::now();
        true
    }

    /// Notes that bytes were read from the client or sent to it.
    pub fn moved(&self, client: &Connection) {
        if let Some(holder) = self.holders.lock().get_mut(&client.id()) {
            holder.moved = Instant::now();
        }
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
    /// What its reply shares with other replies.
    value: Option<Bytes>,
    /// When bytes were read from the client or sent to it.
    moved: Instant,
    dropped: bool,
}

impl Holder {
    fn new(client: &Connection) -> Self {
        Holder {
            connection: client.clone(),
            bytes: 0,
            value: None,
            moved: Instant::now(),
            dropped: false,
        }
    }

    fn shares(&self, value: &Bytes) -> bool {
        let own = self.value.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, value))
    }

    fn size(&self) -> usize {
        self.bytes + self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// Each shared value counts once.
fn total(holders: &HashMap<u64, Holder>) -> usize {
    let own: usize = holders.values().map(|holder| holder.bytes).sum();
    let values = holders.values().filter_map(|holder| holder.value.as_ref());
    let values: HashMap<_, _> = values.map(|value| (value.as_ptr(), value.len())).collect();
    own + values.into_values().sum::<usize>()
}

/// Disconnects the client that uses most of those that are stalled, if it uses at least this much. While it
/// ends, no other is disconnected.
fn drop_largest(holders: &mut HashMap<u64, Holder>, bytes: usize) {
    let stalled = holders
        .values_mut()
        .filter(|holder| holder.moved.elapsed() >= STALLED);
    let largest = stalled.max_by_key(|holder| holder.size());
    if let Some(holder) = largest.filter(|holder| holder.size() >= bytes && !holder.dropped) {
        holder.dropped = true;
        let address = holder.connection.client_address();
        log::warn!("{address}: uses most memory, does not go on, and is dropped");
        // An error means that it has ended already.
        let _ = holder.connection.shutdown();
    }
}

/// Counts one client until it is dropped.
pub struct CountedClient(Arc<Instance>);

impl Drop for CountedClient {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
