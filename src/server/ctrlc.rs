use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Server;
use crate::ServerHandle;
use crate::dispatch::Dispatch;
use crate::listener::Listener;
use crate::signals;

/// The servers that end on a signal; `None` until the first asks, for a process has one handler for
/// its signals.
static ON_SIGNAL: Mutex<Option<Vec<Told>>> = Mutex::new(None);

struct Told {
    server: ServerHandle,
    /// When it was first told.
    at: Option<Instant>,
}

/// One Ctrl-C may arrive twice: from the terminal, and passed on by a program that started this one.
const AT_ONCE: Duration = Duration::from_millis(100);

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Shuts the server down when the process is told to end: by Ctrl-C (SIGINT), SIGTERM or
    /// SIGHUP. Idle connections end, running requests go on to their end, and
    /// [`serve_forever`](Self::serve_forever) returns. A second signal forces what is left: it ends
    /// all connections. Signals within 0.1 s count as one.
    ///
    /// Several servers of one process may ask for it. Once all of them are closed, a signal ends
    /// the process with status 130. A handler that loops on the serving thread is ended by no signal
    /// but SIGKILL.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the program handles these signals through the crate `ctrlc` itself: call
    /// [`ServerHandle::shutdown`] in its handler instead.
    pub fn shutdown_on_ctrlc(&self) -> io::Result<()> {
        let mut servers = ON_SIGNAL.lock();
        if servers.is_none() {
            signals::handle(shut_all_down).map_err(|e| match e {
                ::ctrlc::Error::MultipleHandlers => {
                    let message = "this program handles Ctrl-C already; call ServerHandle::shutdown in its handler";
                    io::Error::new(io::ErrorKind::AlreadyExists, message)
                }
                other => io::Error::other(other),
            })?;
        }
        let servers = servers.get_or_insert_default();
        if !servers.iter().any(|told| told.server.is(&self.handle)) {
            servers.push(Told {
                server: self.handle(),
                at: None,
            });
        }
        Ok(())
    }
}

/// Runs on the thread that the crate `ctrlc` keeps for it, not in the signal handler.
fn shut_all_down() {
    let Some(orders) = orders(ON_SIGNAL.lock().as_mut()) else {
        // What would have happened without us, so that a program that serves no more can still be
        // ended.
        std::process::exit(130);
    };
    for (server, force) in orders {
        // Logged before it is done, for the process may end with it.
        let address = server.server_address();
        if force {
            log::warn!(target: "socketserver::server", "told again to end: ending all connections of {address}");
            server.force();
        } else {
            log::info!(target: "socketserver::server", "told to end: shutting down {address}");
            server.shutdown();
        }
    }
}

/// Which servers to shut down, and whether by force; `None` if there are no servers.
fn orders(servers: Option<&mut Vec<Told>>) -> Option<Vec<(ServerHandle, bool)>> {
    let servers = servers.filter(|servers| !servers.is_empty())?;
    let now = Instant::now();
    let orders = servers.iter_mut().filter_map(|told| {
        let first = *told.at.get_or_insert(now);
        let force = first != now;
        (!force || now - first > AT_ONCE).then(|| (told.server.clone(), force))
    });
    Some(orders.collect())
}

/// Takes a closed server off the list.
pub(super) fn forget(server: &ServerHandle) {
    if let Some(servers) = &mut *ON_SIGNAL.lock() {
        servers.retain(|told| !told.server.is(server));
    }
}
