//! The two things safe code cannot do here: put a listener's descriptor into a poller, and receive
//! without blocking on a socket that blocks when it sends.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use polling::{Event, Events, PollMode, Poller};
use socket2::{SockAddr, Socket};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const MSG_DONTWAIT: i32 = 0x80;

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

    pub(crate) fn watch<'a>(&'a self, door: BorrowedFd<'a>) -> Watch<'a> {
        Watch {
            bell: self,
            door,
            watching: false,
            events: Events::with_capacity(ONE_LISTENER),
        }
    }
}

/// Room for the one descriptor that is watched.
const ONE_LISTENER: NonZeroUsize = NonZeroUsize::MIN;

/// One thread's watch over one descriptor. Level-triggered, so that no client is ever missed.
pub(crate) struct Watch<'a> {
    bell: &'a Doorbell,
    door: BorrowedFd<'a>,
    watching: bool,
    events: Events,
}

impl Watch<'_> {
    /// Sleeps until the descriptor is readable (if `door` says to look at it), the bell rings or
    /// `deadline` has passed.
    pub(crate) fn sleep(&mut self, door: bool, deadline: Option<Instant>) -> io::Result<()> {
        self.look_at_door(door)?;
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.events.clear();
        self.bell.0.wait(&mut self.events, timeout)?;
        Ok(())
    }

    /// Adds or removes the descriptor. Removing beats an empty interest: a poller reports a hung-up
    /// descriptor even to those who asked for nothing, and the thread would spin.
    fn look_at_door(&mut self, wanted: bool) -> io::Result<()> {
        if wanted && !self.watching {
            // SAFETY: the descriptor is borrowed for longer than this value lives, and `drop`
            // removes it.
            unsafe {
                self.bell
                    .0
                    .add_with_mode(&self.door, Event::readable(0), PollMode::Level)?
            };
        } else if !wanted && self.watching {
            self.bell.0.delete(self.door)?;
        }
        self.watching = wanted;
        Ok(())
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let _ = self.look_at_door(false);
    }
}

/// Receives one datagram if one is there; `WouldBlock` if not. The socket itself stays blocking, so
/// that a reply waits for room in the send buffer instead of failing.
pub(crate) fn try_recv_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, SockAddr)> {
    // SAFETY: both slices have one layout, and `recv_from` writes initialised bytes only.
    let buffer = unsafe { &mut *(buffer as *mut [u8] as *mut [MaybeUninit<u8>]) };
    socket.recv_from_with_flags(buffer, MSG_DONTWAIT)
}
