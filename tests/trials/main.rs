//! Trials under load, with faults and with hostile clients: one module each. The small ones run with
//! all other tests; those that are ignored are of full size, and print what they measured:
//!
//! ```text
//! cargo build --release --workspace --all-features --bins --examples
//! cargo test --release -p socketserver-tests --all-features --test trials -- --include-ignored --nocapture --test-threads 1 NAME
//! ```

mod behavior;
mod checks;
mod clients;
mod dripper;
mod figures;
mod random_input;
mod server;
mod targets;

mod abrupt_clients;
mod blocked_handlers;
mod connection_flood;
mod datagram_flood;
mod descriptor_limit;
mod drippers;
mod echo_flood;
mod random_bytes;
mod random_bytes_behind;
mod soak;
mod termination;
mod thread_refused;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Trials measure processor time, memory and delays: each has the machine to itself.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    // A trial that failed does not keep the others from running.
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
