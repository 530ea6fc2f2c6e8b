//! The listening sockets that the process was started with: by a service manager, or by the process that it replaces.

use std::env;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process;

use parking_lot::Mutex;

/// The first of these descriptors. The others follow.
pub(crate) const FIRST: RawFd = 3;

/// Those that no server has taken. `None` until they are asked for.
static SOCKETS: Mutex<Option<Vec<Socket>>> = Mutex::new(None);

/// A descriptor, and its name in `LISTEN_FDNAMES`.
struct Socket {
    name: String,
    socket: OwnedFd,
}

/// Takes the first socket with this name; with `None` the first of all.
pub(crate) fn take(name: Option<&str>) -> Option<OwnedFd> {
    let mut sockets = SOCKETS.lock();
    let sockets = sockets.get_or_insert_with(inherit);
    let is_asked_for = |socket: &Socket| name.is_none_or(|name| socket.name == name);
    let index = sockets.iter().position(is_asked_for)?;
    Some(sockets.remove(index).socket)
}

/// The names of those that no server has taken.
pub(crate) fn names() -> Vec<String> {
    let mut sockets = SOCKETS.lock();
    let sockets = sockets.get_or_insert_with(inherit).iter();
    sockets.map(|socket| socket.name.clone()).collect()
}

/// See sd_listen_fds(3). A child process of the one that they are for has the variables, but not the descriptors.
fn inherit() -> Vec<Socket> {
    let number = |name| env::var(name).ok()?.parse::<i32>().ok();
    let is_for_this =
        number("LISTEN_PID").is_some_and(|pid| i64::from(pid) == process::id().into());
    let count = number("LISTEN_FDS").filter(|_| is_for_this).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    // What systemd itself calls a socket without a name.
    let names = names.split(':').chain(std::iter::repeat("unknown"));
    let descriptors = FIRST..FIRST.saturating_add(count);
    let sockets = descriptors.zip(names).filter_map(|(descriptor, name)| {
        Some(Socket {
            name: name.to_owned(),
            socket: own(descriptor)?,
        })
    });
    sockets.collect()
}

/// `None` if it is not open.
fn own(descriptor: RawFd) -> Option<OwnedFd> {
    // A program that this one starts does not get it.
    // SAFETY: it fails if the descriptor is not open.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return None;
    }
    // SAFETY: it is open. Who has started this process has made it for this process to use, and `SOCKETS` is set once,
    // so it has one owner.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
