//! Code that needs `unsafe`, and state of the whole process: its signals, its timer thread, its
//! children.
#![allow(unsafe_code)]

#[cfg(feature = "green")]
pub(crate) mod coroutine;
mod counted_thread;
pub(crate) mod datagram;
#[cfg(any(feature = "restart", feature = "systemd"))]
pub(crate) mod inherited;
pub(crate) mod linger;
#[cfg(feature = "restart")]
pub(crate) mod new_process;
#[cfg(feature = "restart")]
pub(crate) mod other_signals;
pub(crate) mod poll_thread;
#[cfg_attr(all(test, shuttle), allow(dead_code))] // The model has a notifier of its own.
pub(crate) mod poller;
#[cfg(feature = "fork")]
pub(crate) mod process;
#[cfg(feature = "green")]
pub(crate) mod readiness;
pub(crate) mod signals;
#[cfg(feature = "green")]
pub(crate) mod stack;
pub(crate) mod stream;
pub(crate) mod timer;

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
#[cfg(all(feature = "restart", feature = "systemd"))]
use std::time::Duration;

use socket2::{SockAddr, SockAddrStorage, SockRef, Socket};

pub(crate) use self::counted_thread::CountedThread;
pub(crate) use self::poller::Poller;
use crate::Address;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const MSG_DONTWAIT: i32 = 0x80;

pub(crate) const MSG_PEEK: i32 = 0x2;

/// Receives one datagram if there is one, and fails with `WouldBlock` if not. The socket itself stays
/// blocking, so that a reply waits for space in the send buffer instead of failing.
pub(crate) fn try_recv_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    let (length, sender) = socket.recv_from_with_flags(as_uninit(buffer), MSG_DONTWAIT)?;
    Ok((length, sender.into()))
}

pub(crate) fn recv_with_flags(
    socket: &impl AsFd,
    buffer: &mut [u8],
    flags: i32,
) -> io::Result<usize> {
    SockRef::from(socket).recv_with_flags(as_uninit(buffer), flags)
}

/// For the calls of `socket2`, which write initialised bytes only.
fn as_uninit(buffer: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: both slices have the same layout. The slice is passed to a receiving call only, which
    // writes initialised bytes.
    unsafe { &mut *(buffer as *mut [u8] as *mut [MaybeUninit<u8>]) }
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

/// The time on the clock of the system that never goes back.
#[cfg(all(feature = "restart", feature = "systemd"))]
pub(crate) fn monotonic_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the call writes a `timespec`, and zeroes are a valid one.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        time.assume_init()
    };
    // It counts from the start of the system, so it is not negative.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Locks the file, unless another process or another opening of the file holds the lock: then this returns
/// false. The lock lasts until the file is closed.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open during the call.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        },
    }
}

/// The lock between the library's own threads (for signals, timers, sockets) and `fork`: they work
/// only while they hold it, so that none is in the middle of something when the process forks.
pub(crate) mod fork_lock {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use crate::error::catch_silently;

    /// How many such threads there are.
    pub(super) static THREADS: AtomicUsize = AtomicUsize::new(0);

    /// A `std` lock: those of `parking_lot` keep lists of waiting threads, which a forked process does not
    /// have.
    static LOCK: Mutex<()> = Mutex::new(());

    thread_local! {
        static IS_HELD: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs a piece of work of such a thread. Returns `None` if it panics: it may log, through a logger of
    /// the program's own.
    pub(crate) fn run<T>(work: impl FnOnce() -> T) -> Option<T> {
        let _held = lock();
        IS_HELD.set(true);
        let result = catch_silently(work);
        IS_HELD.set(false);
        result
    }

    /// Whether this thread holds it: then [`run`] would wait forever.
    #[cfg(feature = "restart")]
    pub(crate) fn is_held() -> bool {
        IS_HELD.get()
    }

    pub(super) fn lock() -> MutexGuard<'static, ()> {
        LOCK.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more of these threads.
    pub(crate) fn thread_started() {
        THREADS.fetch_add(1, Ordering::SeqCst);
    }
}
