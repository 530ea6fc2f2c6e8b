//! Without the feature `restart` no process replaces this one. In place of the module `restart`.

use std::io;

use crate::ServerHandle;
use crate::listener::Listener;

pub(crate) struct SocketName;

impl SocketName {
    pub(crate) fn of_adopted(_: &impl Listener) -> Self {
        SocketName
    }
}

pub(crate) struct ListeningSocket;

impl ListeningSocket {
    pub(crate) fn list(_: &impl Listener, _: SocketName, _: &ServerHandle) -> Self {
        ListeningSocket
    }
}

pub(crate) fn inherited_first<L: Listener>(listeners: Vec<L>) -> Vec<L> {
    listeners
}

pub(crate) fn take_over<L: Listener>(_: &mut L) -> io::Result<(bool, SocketName)> {
    Ok((false, SocketName))
}

pub(crate) fn serves() {}

pub(crate) fn cancel() {}

pub(crate) fn shares_sockets() -> bool {
    false
}
