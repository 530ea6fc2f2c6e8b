//! The locks, channels and threads of the pool, the permits and the serving thread.
//!
//! In a test build with `--cfg shuttle` they are those of `model`, which runs what is written with
//! them in one order after another. What is not modelled uses the real ones directly.

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
