use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Server;
use crate::ServerHandle;
use crate::dispatch::Dispatch;
use crate::error::contain;
use crate::listener::Listener;
use crate::signals;

/// `None` until the first server asks, for a process has one handler for its signals.
static ON_SIGNAL: Mutex<Option<OnSignal>> = Mutex::new(None);

#[derive(Default)]
struct OnSignal {
    /// The servers that end on a signal.
    servers: Vec<Told>,
    /// When the last one had been heeded.
    heeded: Option<Instant>,
}

#[derive(Clone)]
struct Told {
    server: ServerHandle,
    before: bool,
}

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
        let mut on_signal = ON_SIGNAL.lock();
        if on_signal.is_none() {
            signals::handle(shut_all_down).map_err(|e| match e {
                ::ctrlc::Error::MultipleHandlers => {
                    let message = "this program handles Ctrl-C already; call ServerHandle::shutdown in its handler";
                    io::Error::new(io::ErrorKind::AlreadyExists, message)
                }
                other => io::Error::other(other),
            })?;
        }
        let servers = &mut on_signal.get_or_insert_default().servers;
        if !servers.iter().any(|told| told.server.is(&self.handle)) {
            servers.push(Told {
                server: self.handle(),
                before: false,
            });
        }
        Ok(())
    }
}

/// Runs on the thread that the crate `ctrlc` keeps for it, not in the signal handler.
fn shut_all_down() {
    let Some((servers, again)) = ON_SIGNAL.lock().as_mut().map(OnSignal::tell) else {
        return;
    };
    if servers.is_empty() && again {
        // What would have happened without us, so that a program that serves no more can still be
        // ended.
        std::process::exit(130);
    }
    let orders = servers.iter().filter(|told| !told.before || again);
    let orders: Vec<_> = orders.collect();
    if !orders.is_empty() {
        orders.into_iter().for_each(Told::obey);
        // Not before: one that has come meanwhile is looked at after this.
        ON_SIGNAL.lock().get_or_insert_default().heeded = Some(Instant::now());
    }
}

impl OnSignal {
    /// Marks all servers as told, and returns them as they were, and whether this is another signal
    /// than the last.
    fn tell(&mut self) -> (Vec<Told>, bool) {
        /// One Ctrl-C may arrive twice: from the terminal, and passed on by the program that started
        /// this one.
        const AT_ONCE: Duration = Duration::from_millis(100);
        let before = self.servers.clone();
        self.servers.iter_mut().for_each(|told| told.before = true);
        (before, self.heeded.is_none_or(|at| at.elapsed() > AT_ONCE))
    }
}

impl Told {
    fn obey(&self) {
        let address = self.server.server_address();
        // Logged before it is done, for the process may end with it.
        if self.before {
            contain(
                || log::warn!(target: "socketserver::server", "told again to end: ending all connections of {address}"),
            );
            self.server.force();
        } else {
            contain(
                || log::info!(target: "socketserver::server", "told to end: shutting down {address}"),
            );
            self.server.shutdown();
        }
    }
}

/// Takes a closed server off the list.
pub(super) fn forget(server: &ServerHandle) {
    if let Some(on_signal) = &mut *ON_SIGNAL.lock() {
        on_signal.servers.retain(|told| !told.server.is(server));
    }
}
