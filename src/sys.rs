//! What safe code cannot do here: put a listener's descriptor into a poller, receive without blocking
//! on a socket that blocks when it sends, break a connection off, and fork.
#![allow(unsafe_code)]

#[cfg(feature = "fork")]
pub(crate) mod process;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

pub(crate) use polling::Events;
use polling::{Event, PollMode};
use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

use crate::Address;
use crate::sync::Poller;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const MSG_DONTWAIT: i32 = 0x80;

pub(crate) const MSG_PEEK: i32 = 0x2;

/// Where the serving thread sleeps: until a client is there, somebody rings, or a deadline has
/// come.
pub(crate) struct Doorbell(Poller);

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        Poller::new().map(Doorbell)
    }

    /// Wakes the sleeper, now or at its next sleep. Never blocks.
    pub(crate) fn ring(&self) {
        // An eventfd that cannot be written is one that is rung already.
        let _ = self.0.notify();
    }

    /// Sleeps until `door` is readable (if it is to be watched at all), the bell rings or
    /// `deadline` has passed.
    ///
    /// The descriptor is in the poller only while somebody sleeps on it: a busy server does not pay
    /// for being told of every client, and nothing is left behind. Level-triggered, so that no
    /// client is missed.
    pub(crate) fn sleep(
        &self,
        door: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
        events: &mut Events,
    ) -> io::Result<()> {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        events.clear();
        let Some(door) = door else {
            return self.0.wait(events, timeout).map(drop);
        };
        // SAFETY: the descriptor is borrowed for longer than this call, which removes it again.
        unsafe {
            self.0
                .add_with_mode(&door, Event::readable(0), PollMode::Level)?
        };
        let woken = self.0.wait(events, timeout);
        self.0.delete(door)?;
        woken.map(drop)
    }
}

/// Receives one datagram if one is there; `WouldBlock` if not. The socket itself stays blocking, so
/// that a reply waits for room in the send buffer instead of failing.
pub(crate) fn try_recv_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    // SAFETY: both slices have one layout, and `recv_from` writes initialised bytes only.
    let buffer = unsafe { &mut *(buffer as *mut [u8] as *mut [MaybeUninit<u8>]) };
    let (length, sender) = socket.recv_from_with_flags(buffer, MSG_DONTWAIT)?;
    Ok((length, sender.into()))
}

/// Breaks a TCP connection off: its client is sent a reset, and whoever is blocked on it here is let
/// go. Not every system can.
pub(crate) fn reset(connection: &impl AsFd) -> io::Result<()> {
    let none = SockAddrStorage::zeroed();
    let length = none.size_of();
    // SAFETY: zeroes are an address of the family AF_UNSPEC, and it is as long as that.
    let none = unsafe { SockAddr::new(none, length) };
    SockRef::from(connection).connect(&none)
}
