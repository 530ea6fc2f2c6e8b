//! The locks, channels, threads and the poller of the thread pool, the permits and the accept loop.
//!
//! A test build with `--cfg shuttle` replaces them with the types of `model`, which runs the code in many
//! different orders of its threads. Code that is not modelled uses the real types directly.

#[cfg(all(test, shuttle))]
pub(crate) mod model;

#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    crossbeam_channel as channel,
    parking_lot::{Condvar, Mutex, MutexGuard},
    polling::Poller,
    std::{sync::atomic, thread, thread_local},
};

#[cfg(all(test, shuttle))]
pub(crate) use {
    self::model::{Condvar, Mutex, MutexGuard, Poller, channel},
    shuttle::{sync::atomic, thread, thread_local},
};
