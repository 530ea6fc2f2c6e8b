//! What the standard library and `socket2` do not offer for a connected socket.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use polling::{Event, Events, PollMode, Poller};
use socket2::SockRef;

use super::{MSG_DONTWAIT, recv_with_flags, signals};

/// Without it a write to a connection that the client has closed would send SIGPIPE to this process. Apple's
/// systems have an option of the socket instead.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const MSG_NOSIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const MSG_NOSIGNAL: i32 = 0;

/// Waits until `socket` is readable or writable, or has failed. Returns false if the deadline passes
/// before. Blocks; a signal does not end it.
pub(crate) fn wait(
    socket: &impl AsFd,
    events: libc::c_short,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let polled = libc::pollfd {
        fd: socket.as_fd().as_raw_fd(),
        events,
        revents: 0,
    };
    loop {
        match poll_or_interrupt(&mut [polled], deadline) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => signals::run_pending(),
            waited => return waited,
        }
    }
}

/// Waits for an event of any of the descriptors. Returns false after the deadline. Fails with `Interrupted` when
/// a signal handler has run on this thread.
pub(super) fn poll_or_interrupt(
    polled: &mut [libc::pollfd],
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let number = polled.len() as libc::nfds_t;
    loop {
        let timeout = deadline.map_or(-1, poll_timeout);
        // SAFETY: `polled` is `number` valid entries during the call.
        match unsafe { libc::poll(polled.as_mut_ptr(), number, timeout) } {
            1.. => return Ok(true),
            0 if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(false),
            // A timeout that is too long for one call.
            0 => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}

/// In milliseconds, rounded up.
fn poll_timeout(deadline: Instant) -> libc::c_int {
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = left.as_nanos().div_ceil(1_000_000);
    millis.try_into().unwrap_or(libc::c_int::MAX)
}

/// Receives what has arrived. Fails with `WouldBlock` instead of blocking. Nothing runs for a signal: the caller holds a
/// lock.
#[inline(always)]
pub(crate) fn try_receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match recv_with_flags(socket, buffer, MSG_DONTWAIT) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// Sends from a file, in the system. Other systems do not say how much was sent before the call would have blocked.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sendfile(
    socket: &impl AsFd,
    file: &File,
    offset: u64,
    length: usize,
) -> io::Result<usize> {
    let too_far = |_| io::Error::from(io::ErrorKind::Unsupported);
    let offset = usize::try_from(offset).map_err(too_far)?;
    SockRef::from(socket).sendfile(file, offset, NonZeroUsize::new(length))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sendfile(_: &impl AsFd, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many bytes have arrived that were not read yet. 0 if the socket does not tell.
pub(crate) fn unread(socket: &impl AsFd) -> u64 {
    queued(socket, libc::FIONREAD)
}

/// How many bytes were sent over TCP that the client's system has not acknowledged yet. 0 after a reset, for
/// a Unix socket, which delivers at once, and if the system does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn unacknowledged(socket: &impl AsFd) -> u64 {
    match tcp_state(socket) {
        None | Some(CLOSE) => 0,
        Some(_) => queued(socket, libc::TIOCOUTQ),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn unacknowledged(_: &impl AsFd) -> u64 {
    0
}

fn queued(socket: &impl AsFd, request: libc::c_ulong) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one `int`.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request as _, &mut bytes) };
    if result == 0 {
        bytes.try_into().unwrap_or(0)
    } else {
        0
    }
}

/// Whether a TCP socket whose reading side is shut down still delivers what arrives.
pub(crate) const RECEIVES_AFTER_SHUTDOWN: bool =
    cfg!(any(target_os = "linux", target_os = "android"));

/// Whether the client of a TCP connection has ended its stream.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn client_has_ended(socket: &impl AsFd) -> bool {
    !matches!(tcp_state(socket), Some(ESTABLISHED | FIN_WAIT1 | FIN_WAIT2))
}

/// The state of a TCP connection. `None` for other sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn tcp_state(socket: &impl AsFd) -> Option<u8> {
    // The first field of `tcp_info`.
    let mut state = 0u8;
    let mut length: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `length` bytes to `state`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &mut length,
        )
    };
    (result == 0).then_some(state)
}

/// States of TCP connections, as in the kernel's `tcp_states.h`. In the first three no end has been received.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ESTABLISHED: u8 = 1;
#[cfg(any(target_os = "linux", target_os = "android"))]
const FIN_WAIT1: u8 = 4;
#[cfg(any(target_os = "linux", target_os = "android"))]
const FIN_WAIT2: u8 = 5;
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOSE: u8 = 7;

/// Elsewhere a socket whose reading side is shut down receives nothing more.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn client_has_ended(_: &impl AsFd) -> bool {
    true
}

/// Receives from a TCP socket whose reading side is shut down. Such a socket still delivers what arrives,
/// but a read does not wait for it, and it always counts as readable. So this waits for the change.
/// Returns 0 when the client has ended the stream, and `WouldBlock` after the timeout.
pub(crate) fn receive_after_shutdown(
    socket: &impl AsFd,
    timeout: Option<Duration>,
    mut receive: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let poller = Poller::new()?;
    let fd = socket.as_fd();
    // SAFETY: the descriptor is borrowed for longer than the poller lives.
    unsafe { poller.add_with_mode(&fd, Event::readable(0), PollMode::Edge)? };
    let mut events = Events::with_capacity(NonZeroUsize::MIN);
    let result = loop {
        // Before the read: what arrives with the end is read first.
        let has_ended = client_has_ended(socket);
        match receive() {
            Ok(0) if !has_ended => {}
            received => break received,
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break Err(io::ErrorKind::WouldBlock.into());
        }
        events.clear();
        if let Err(error) = poller.wait(&mut events, left) {
            break Err(error);
        }
    };
    poller.delete(fd)?;
    result
}

/// Whether the program has set the socket non-blocking: then nothing waits.
pub(crate) fn is_nonblocking(socket: &impl AsFd) -> bool {
    SockRef::from(socket).nonblocking().unwrap_or(false)
}
