//! Trials under load, with faults and with hostile clients: one module each. The small trials run
//! with all other tests. The full-size trials are ignored by default, and print their measurements:
//!
//! ```text
//! cargo build --release --workspace --all-features --bins --examples
//! cargo test --release -p socketserver-tests --all-features --test trials -- --include-ignored --nocapture --test-threads 1 NAME
//! ```

mod behavior;
mod checks;
mod clients;
mod figures;
mod random_input;
mod server;
mod slow_client;
mod targets;

mod abrupt_clients;
mod bind_race;
mod blocked_handlers;
mod broadcast;
mod connection_flood;
mod datagram_flood;
mod deaf_client;
mod descriptor_limit;
mod echo_flood;
#[cfg(feature = "green")]
mod green_scale;
#[cfg(feature = "tls")]
mod handshakes;
mod lingering;
mod panicking_logger;
mod random_bytes;
mod random_target_bytes;
mod rolling_restart;
mod slow_clients;
mod soak;
mod termination;
mod thread_refused;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

// The other trials run even if one has failed, so a poisoned lock is ignored.
static MACHINE: RwLock<()> = RwLock::new(());

/// No other trial runs meanwhile.
fn exclusive() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Other trials may run meanwhile: for small trials that measure no short delays, and nothing of this process.
fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}
