//! What needs `unsafe`, and what belongs to the whole process: its signals, its timer thread, its
//! children.
#![allow(unsafe_code)]

pub(crate) mod fork_lock;
#[cfg(feature = "fork")]
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod timer;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

pub(crate) use polling::Events;
use polling::{Event, PollMode};
use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

use crate::{Address, sync};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const MSG_DONTWAIT: i32 = 0x80;

pub(crate) const MSG_PEEK: i32 = 0x2;

/// Receives one datagram if there is one, and fails with `WouldBlock` if not. The socket itself stays
/// blocking, so that a reply waits for space in the send buffer instead of failing.
pub(crate) fn try_recv_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    // SAFETY: both slices have the same layout, and `recv_from` writes initialised bytes only.
    let buffer = unsafe { &mut *(buffer as *mut [u8] as *mut [MaybeUninit<u8>]) };
    let (length, sender) = socket.recv_from_with_flags(buffer, MSG_DONTWAIT)?;
    Ok((length, sender.into()))
}

/// Resets a TCP connection: the client receives a reset, and blocked calls on the socket return. Fails
/// on systems that cannot disconnect a socket.
pub(crate) fn reset(connection: &impl AsFd) -> io::Result<()> {
    let unspecified = SockAddrStorage::zeroed();
    let length = unspecified.size_of();
    // SAFETY: zeroes are a valid address of the family AF_UNSPEC, and `length` is its whole storage.
    let unspecified = unsafe { SockAddr::new(unspecified, length) };
    SockRef::from(connection).connect(&unspecified)
}

/// Where the accept loop waits: for a client, a notification or a deadline.
pub(crate) struct Poller(sync::Poller);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        sync::Poller::new().map(Poller)
    }

    /// Ends the current [`wait`](Self::wait), or the next one. Never blocks.
    pub(crate) fn notify(&self) {
        // Fails only if the eventfd is full: then it is notified already.
        let _ = self.0.notify();
    }

    /// Waits until `listener` is readable (with `None` no descriptor is watched), somebody notifies, or
    /// the deadline has passed.
    ///
    /// The descriptor is registered only during the call: a busy server never registers it, and nothing
    /// stays behind. Level-triggered, so that no client is missed.
    pub(crate) fn wait(
        &self,
        listener: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
        events: &mut Events,
    ) -> io::Result<()> {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        events.clear();
        let Some(listener) = listener else {
            return self.0.wait(events, timeout).map(drop);
        };
        // SAFETY: the descriptor is borrowed for longer than this call, which removes it again.
        unsafe {
            self.0
                .add_with_mode(&listener, Event::readable(0), PollMode::Level)?
        };
        let waited = self.0.wait(events, timeout);
        self.0.delete(listener)?;
        waited.map(drop)
    }
}
