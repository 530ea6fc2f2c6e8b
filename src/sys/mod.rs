//! What needs `unsafe`, and what belongs to the whole process: its signals, its timer thread, its
//! children.
#![allow(unsafe_code)]

pub(crate) mod fork_lock;
mod poller;
#[cfg(feature = "fork")]
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod timer;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

pub(crate) use self::poller::{Events, Poller};
use crate::Address;

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
