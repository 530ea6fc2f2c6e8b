use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Server;
use crate::ServerHandle;
use crate::dispatch::Dispatch;
use crate::listener::Listener;
use crate::own_threads::contain;
use crate::signals;

/// The servers that end on a signal; `None` until the first asks, for a process has one handler for
/// its signals.
static ON_SIGNAL: Mutex<Option<Vec<Told>>> = Mutex::new(None);

#[derive(Clone)]
struct Told {
    server: ServerHandle,
    /// When it had been told for the first time.
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
    let servers = ON_SIGNAL.lock().clone().unwrap_or_default();
    if servers.is_empty() {
        // What would have happened without us, so that a program that serves no more can still be
        // ended.
        std::process::exit(130);
    }
    servers.iter().for_each(Told::obey);
    // What has come meanwhile is looked at after this.
    let now = Instant::now();
    for told in ON_SIGNAL.lock().iter_mut().flatten() {
        told.at.get_or_insert(now);
    }
}

impl Told {
    fn obey(&self) {
        let address = self.server.server_address();
        match self.at {
            // Logged before it is done, for the process may end with it.
            None => {
                contain(
                    || log::info!(target: "socketserver::server", "told to end: shutting down {address}"),
                );
                self.server.shutdown();
            }
            Some(at) if at.elapsed() > AT_ONCE => {
                contain(
                    || log::warn!(target: "socketserver::server", "told again to end: ending all connections of {address}"),
                );
                self.server.force();
            }
            Some(_) => {}
        }
    }
}

/// Takes a closed server off the list.
pub(super) fn forget(server: &ServerHandle) {
    if let Some(servers) = &mut *ON_SIGNAL.lock() {
        servers.retain(|told| !told.server.is(server));
    }
}
