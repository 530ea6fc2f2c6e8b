//! A signal that interrupts system calls.
// Installing a signal handler is the one thing here that has no safe form.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CAUGHT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

/// Has the signal counted from here on. Without `SA_RESTART`, so that it interrupts what its
/// thread is doing.
pub fn catch(signal: Signal) {
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing but add to an atomic.
    unsafe { sigaction(signal, &action) }.expect("the signal may be caught");
}

/// How many have been caught.
pub fn caught() -> usize {
    CAUGHT.load(Ordering::SeqCst)
}
