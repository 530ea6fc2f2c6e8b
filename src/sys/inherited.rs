//! The listening sockets that the process was started with: by a service manager, or by the process that it replaces.

use std::env;
use std::iter;
#[cfg(feature = "restart")]
use std::os::fd::AsRawFd;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
#[cfg(feature = "restart")]
use std::os::unix::net::UnixStream;
use std::process;
#[cfg(feature = "restart")]
use std::sync::OnceLock;

use parking_lot::Mutex;
use socket2::SockRef;

/// The first of these descriptors. The others follow.
pub(crate) const FIRST: RawFd = 3;

/// The variable with the descriptor through which a process says that it serves.
#[cfg(feature = "restart")]
pub(crate) const READY: &str = "SOCKETSERVER_READY_FD";

/// Those that no server has taken. `None` until they are asked for.
static SOCKETS: Mutex<Option<Vec<Socket>>> = Mutex::new(None);

/// The descriptors that were taken, and their names.
#[cfg(feature = "restart")]
static TAKEN: Mutex<Vec<(RawFd, String)>> = Mutex::new(Vec::new());

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
    let taken = sockets.remove(index);
    #[cfg(feature = "restart")]
    TAKEN.lock().push((taken.socket.as_raw_fd(), taken.name));
    Some(taken.socket)
}

/// The name of a socket that was taken and is open.
#[cfg(feature = "restart")]
pub(crate) fn name_of(socket: RawFd) -> Option<String> {
    let taken = TAKEN.lock();
    let found = taken.iter().find(|(descriptor, _)| *descriptor == socket);
    found.map(|(_, name)| name.clone())
}

/// How many sockets that are open were taken before this one.
#[cfg(feature = "restart")]
pub(crate) fn position(socket: RawFd) -> Option<usize> {
    let taken = TAKEN.lock();
    taken
        .iter()
        .position(|(descriptor, _)| *descriptor == socket)
}

/// The socket is closed.
#[cfg(feature = "restart")]
pub(crate) fn forget(socket: RawFd) {
    TAKEN.lock().retain(|(descriptor, _)| *descriptor != socket);
}

/// Whether this process replaces another one, which serves until this one does.
#[cfg(feature = "restart")]
pub(crate) fn replaces_another() -> bool {
    static REPLACES: OnceLock<bool> = OnceLock::new();
    *REPLACES.get_or_init(|| number(READY).is_some() && is_for_this_process())
}

/// The socket to the process that this one replaces. `None` until it is asked for.
#[cfg(feature = "restart")]
static READY_SOCKET: Mutex<Option<Option<UnixStream>>> = Mutex::new(None);

/// Takes the socket to the process that this one replaces.
#[cfg(feature = "restart")]
pub(crate) fn ready() -> Option<UnixStream> {
    READY_SOCKET.lock().get_or_insert_with(ready_socket).take()
}

#[cfg(feature = "restart")]
fn ready_socket() -> Option<UnixStream> {
    let descriptor = number(READY).filter(|_| is_for_this_process())?;
    own(descriptor).map(UnixStream::from)
}

/// The names of those that no server has taken.
pub(crate) fn names() -> Vec<String> {
    let mut sockets = SOCKETS.lock();
    let sockets = sockets.get_or_insert_with(inherit).iter();
    sockets.map(|socket| socket.name.clone()).collect()
}

/// See sd_listen_fds(3). A child process of the one that they are for has the variables, but not the descriptors.
fn inherit() -> Vec<Socket> {
    let count = number("LISTEN_FDS").filter(|_| is_for_this_process());
    let count = count.unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").ok();
    let names = names.iter().flat_map(|names| names.split(':'));
    // What systemd itself calls a socket without a name.
    let names = names.chain(iter::repeat("unknown"));
    let descriptors = FIRST..FIRST.saturating_add(count);
    // At most as many as are open, whatever the number says.
    let descriptors = descriptors.take_while(|descriptor| set_cloexec(*descriptor));
    let sockets = descriptors.zip(names).filter_map(|(descriptor, name)| {
        Some(Socket {
            name: name.to_owned(),
            socket: own(descriptor)?,
        })
    });
    let sockets = sockets.collect();
    #[cfg(feature = "restart")]
    READY_SOCKET.lock().get_or_insert_with(ready_socket);
    sockets
}

fn is_for_this_process() -> bool {
    number("LISTEN_PID").is_some_and(|id| id.unsigned_abs() == process::id())
}

fn number(variable: &str) -> Option<i32> {
    env::var(variable).ok()?.parse().ok()
}

/// Programs that this one starts do not get it. Returns false if it is not open.
fn set_cloexec(descriptor: RawFd) -> bool {
    // SAFETY: it fails if the descriptor is not open.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) != -1 }
}

/// `None` if it is not an open socket.
fn own(descriptor: RawFd) -> Option<OwnedFd> {
    if !set_cloexec(descriptor) {
        return None;
    }
    // SAFETY: it is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    SockRef::from(&borrowed).r#type().ok()?;
    // SAFETY: it is open. Who has started this process has made it for this process to use. Each descriptor is asked
    // for once, so it has one owner.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
