use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use parking_lot::Mutex;

use crate::handle::ListenState;
use crate::listener::Listener;
use crate::log_line::log_line;
use crate::request::Lifecycle;
use crate::sys::{inherited, new_process};
use crate::{Address, ServerHandle, handle};

/// The listening sockets of this process.
static SOCKETS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

struct Entry {
    socket: RawFd,
    name: SocketName,
    server: ServerHandle,
}

/// By what name a new process gets a socket. `None` for one that it does not get.
#[derive(Debug)]
pub(crate) struct SocketName(Option<String>);

impl SocketName {
    /// The kind and the requested address, without the characters that `LISTEN_FDNAMES` cannot contain.
    fn of<L: Listener>(address: &Address) -> Self {
        let kind = handle::kind(address, L::Request::OWNS_SOCKET);
        let name = format!("{kind} {address}");
        let name = name.replace('%', "%25").replace(':', "%3A");
        SocketName(Some(name))
    }

    /// That of an adopted socket, if the process was started with it.
    pub(crate) fn of_adopted(listener: &impl Listener) -> Self {
        SocketName(inherited::name_of(listener.as_fd().as_raw_fd()))
    }
}

/// Of the addresses of one name, the one whose socket the process was started with comes first.
pub(crate) fn inherited_first<L: Listener>(mut listeners: Vec<L>) -> Vec<L> {
    let names = inherited::names();
    let is_inherited = |listener: &L| {
        let address = listener.local_address().ok();
        let name = address.and_then(|address| SocketName::of::<L>(&address).0);
        name.is_some_and(|name| names.contains(&name))
    };
    listeners.sort_by_key(|listener| !is_inherited(listener));
    listeners
}

/// Gives the listener the socket for its requested address, if the process was started with that. Returns whether it was,
/// and the name of the listener's socket.
pub(crate) fn take_over<L: Listener>(listener: &mut L) -> io::Result<(bool, SocketName)> {
    let name = SocketName::of::<L>(&listener.local_address()?);
    let Some(socket) = inherited::take(name.0.as_deref()) else {
        return Ok((false, name));
    };
    listener.server_take_over(socket)?;
    let text = name.0.as_deref().map(describe).unwrap_or_default();
    log_line!(target: "socketserver::listener", Info, "took over the socket of {text}");
    Ok((true, name))
}

/// Copies of all listening sockets, with their names.
///
/// # Errors
///
/// `Unsupported` if there is none, or one that cannot be handed over.
pub(super) fn copies() -> io::Result<Vec<(String, OwnedFd)>> {
    let unsupported = |text| io::Error::new(io::ErrorKind::Unsupported, text);
    // Locked meanwhile, so that none is closed.
    let sockets = SOCKETS.lock();
    if sockets.is_empty() {
        return Err(unsupported("this process has no server".to_owned()));
    }
    let copy = |entry: &Entry| {
        let adopted = || {
            let server = entry.server.log_name();
            unsupported(format!(
                "the socket of {server} was adopted, and cannot be handed over: use Builder::bind"
            ))
        };
        let name = entry.name.0.clone().ok_or_else(adopted)?;
        if entry.server.control().listen == ListenState::Closed {
            let server = entry.server.log_name();
            return Err(unsupported(format!(
                "{server} does not listen: call resume first"
            )));
        }
        Ok((name, new_process::duplicate(entry.socket)?))
    };
    let mut sockets: Vec<_> = sockets.iter().collect();
    // Those from a service manager in their order: the new process may take them without a name.
    sockets.sort_by_key(|entry| inherited::position(entry.socket).unwrap_or(usize::MAX));
    sockets.into_iter().map(copy).collect()
}

/// Wakes the accept loops: what they could not do during a restart they do now.
pub(super) fn notify() {
    servers().iter().for_each(|server| server.poller().notify());
}

/// The servers of these sockets.
pub(super) fn servers() -> Vec<ServerHandle> {
    let sockets = SOCKETS.lock();
    sockets.iter().map(|entry| entry.server.clone()).collect()
}

/// A name as a person reads it.
pub(super) fn describe(name: &str) -> String {
    name.replace("%3A", ":").replace("%25", "%")
}

/// A server's listening socket, in the list of the process until this is dropped.
#[derive(Debug)]
pub(crate) struct ListeningSocket(RawFd);

impl ListeningSocket {
    pub(crate) fn list(listener: &impl Listener, name: SocketName, server: &ServerHandle) -> Self {
        super::replacement::start_folder();
        let socket = listener.as_fd().as_raw_fd();
        let mut sockets = SOCKETS.lock();
        if sockets.is_empty() {
            super::replacement::first_server();
        }
        sockets.push(Entry {
            socket,
            name,
            server: server.clone(),
        });
        ListeningSocket(socket)
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        let mut sockets = SOCKETS.lock();
        let index = sockets.iter().position(|entry| entry.socket == self.0);
        // Their order is that of the sockets with the same name, too.
        let entry = index.map(|index| sockets.remove(index));
        let is_last = sockets.is_empty();
        drop(sockets);
        inherited::forget(self.0);
        if is_last {
            super::replacement::end_new_process();
        }
        if let Some(entry) = entry {
            super::reload::remove(&entry.server);
        }
    }
}
