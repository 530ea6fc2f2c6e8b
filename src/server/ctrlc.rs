use std::io;

use parking_lot::Mutex;

use super::Server;
use crate::ServerHandle;
use crate::dispatch::Dispatch;
use crate::listener::Listener;

/// The servers that end on a signal; `None` until the first asks, for a process has one handler for
/// its signals.
static ON_SIGNAL: Mutex<Option<Vec<ServerHandle>>> = Mutex::new(None);

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Shuts the server down when the process is told to end: by Ctrl-C (SIGINT), SIGTERM or
    /// SIGHUP. Running requests go on to their end, and [`serve_forever`](Self::serve_forever)
    /// returns.
    ///
    /// Several servers of one process may ask for it. Once all of them are closed, a signal ends
    /// the process.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the program handles these signals through the crate `ctrlc` itself: call
    /// [`ServerHandle::shutdown`] in its handler instead.
    pub fn shutdown_on_ctrlc(&self) -> io::Result<()> {
        let mut servers = ON_SIGNAL.lock();
        if servers.is_none() {
            ::ctrlc::set_handler(shut_all_down).map_err(|e| match e {
                ::ctrlc::Error::MultipleHandlers => {
                    let message = "this program handles Ctrl-C already; call ServerHandle::shutdown in its handler";
                    io::Error::new(io::ErrorKind::AlreadyExists, message)
                }
                other => io::Error::other(other),
            })?;
        }
        servers.get_or_insert_default().push(self.handle());
        Ok(())
    }
}

/// Runs on the thread that the crate `ctrlc` keeps for it, not in the signal handler.
fn shut_all_down() {
    let servers = ON_SIGNAL.lock().clone().unwrap_or_default();
    if servers.is_empty() {
        // What would have happened without us, so that a program that serves no more can still be
        // ended.
        std::process::exit(130);
    }
    for server in servers {
        let address = server.server_address();
        if server.is_shutting_down() {
            // Before it is done, for the process may end with it.
            log::warn!(target: "socketserver::server", "told again to end: forcing {address}");
            server.force();
        } else {
            log::info!(target: "socketserver::server", "told to end: shutting down {address}");
            server.shutdown();
        }
    }
}

/// Takes a closed server off the list.
pub(super) fn forget(server: &ServerHandle) {
    if let Some(servers) = &mut *ON_SIGNAL.lock() {
        servers.retain(|other| !other.is(server));
    }
}
