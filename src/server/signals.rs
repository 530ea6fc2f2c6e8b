use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Server;
use crate::dispatch::Dispatch;
use crate::listener::Listener;
use crate::log_line::log_line;
use crate::sys::signals;
use crate::{ServerHandle, restart};

/// `None` until the first server registers: a process has one handler for these signals.
static REGISTERED: Mutex<Option<Registered>> = Mutex::new(None);

#[derive(Default)]
struct Registered {
    servers: Vec<RegisteredServer>,
    /// When the last signal had been acted on.
    last_signal: Option<Instant>,
}

#[derive(Clone)]
struct RegisteredServer {
    server: ServerHandle,
    /// Whether a signal has come before.
    signalled: bool,
}

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Shuts the server down on Ctrl-C (SIGINT), SIGTERM or SIGHUP: idle connections end, running requests
    /// finish, and [`serve_forever`](Self::serve_forever) returns. A second signal closes all connections
    /// by force, also during a [`drain_delay`](super::Builder::drain_delay). Signals within 0.1 s count as one.
    ///
    /// SIGINT and SIGHUP stay ignored if they are ignored when this is called first: `nohup` starts a program
    /// with SIGHUP ignored, a shell without job control starts a background job with SIGINT ignored.
    ///
    /// Several servers of one process may call it. After all of them are closed, a signal ends the process
    /// with status 130. A handler that loops on the thread of the accept loop can be ended by SIGKILL only.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the program handles these signals through the crate `ctrlc` itself. Call
    /// [`ServerHandle::shutdown`] in its handler instead.
    #[doc(alias("SIGTERM", "SIGINT", "SIGHUP", "graceful shutdown"))]
    pub fn shutdown_on_ctrlc(&self) -> io::Result<()> {
        let mut registered = REGISTERED.lock();
        if registered.is_none() {
            signals::on_termination(shut_all_down).map_err(|e| match e {
                ::ctrlc::Error::MultipleHandlers => {
                    let message = "this program handles Ctrl-C already; call ServerHandle::shutdown in its handler";
                    io::Error::new(io::ErrorKind::AlreadyExists, message)
                }
                other => io::Error::other(other),
            })?;
        }
        let servers = &mut registered.get_or_insert_default().servers;
        if !servers.iter().any(|other| other.server.is(&self.handle)) {
            servers.push(RegisteredServer {
                server: self.handle(),
                signalled: false,
            });
        }
        Ok(())
    }
}

/// Runs on the thread of the crate `ctrlc`, not in the signal handler.
fn shut_all_down() {
    restart::cancel();
    let Some((servers, is_new)) = REGISTERED.lock().as_mut().map(Registered::signal) else {
        return;
    };
    if servers.is_empty() && is_new {
        // The default action of the signal, so that a program that no longer serves can be ended.
        std::process::exit(130);
    }
    let stops: Vec<_> = servers
        .iter()
        .filter(|server| !server.signalled || is_new)
        .collect();
    if !stops.is_empty() {
        stops.into_iter().for_each(RegisteredServer::stop);
        // Not before: a signal that has come meanwhile counts as this one.
        REGISTERED.lock().get_or_insert_default().last_signal = Some(Instant::now());
    }
}

impl Registered {
    /// Marks all servers as signalled. Returns them as they were before, and whether this is another
    /// signal than the last.
    fn signal(&mut self) -> (Vec<RegisteredServer>, bool) {
        /// One Ctrl-C may arrive twice: from the terminal, and from the program that started this one.
        const SAME_SIGNAL: Duration = Duration::from_millis(100);
        let before = self.servers.clone();
        self.servers
            .iter_mut()
            .for_each(|server| server.signalled = true);
        let is_new = self.last_signal.is_none_or(|at| at.elapsed() > SAME_SIGNAL);
        (before, is_new)
    }
}

impl RegisteredServer {
    fn stop(&self) {
        let name = self.server.log_name();
        // Logged before, because the process may end with it.
        if self.signalled {
            log_line!(target: "socketserver::server", Warn, "second signal: closing all connections of {name} by force");
            self.server.shutdown_now();
            self.server.force_close();
        } else {
            log_line!(target: "socketserver::server", Info, "signal received: shutting down {name}");
            self.server.shutdown();
        }
    }
}

/// Removes a server that is closed.
pub(super) fn unregister(server: &ServerHandle) {
    if let Some(registered) = &mut *REGISTERED.lock() {
        registered.servers.retain(|other| !other.server.is(server));
    }
}
