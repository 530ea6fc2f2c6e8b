use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::listening;
use crate::ServerHandle;
use crate::error::catch_and_log;
use crate::log_line::log_line;
use crate::sys::fork_lock;

/// What SIGHUP does for the servers of this process.
static RELOADS: Mutex<Vec<Reload>> = Mutex::new(Vec::new());

type ReloadFn = dyn Fn(&ServerHandle) -> io::Result<()> + Send + Sync;

struct Reload {
    server: ServerHandle,
    reload: Arc<ReloadFn>,
}

pub(super) fn add(server: ServerHandle, reload: Arc<ReloadFn>) {
    RELOADS.lock().push(Reload { server, reload });
}

/// The server is closed.
pub(super) fn remove(server: &ServerHandle) {
    let mut reloads = RELOADS.lock();
    let all = reloads.drain(..);
    let (closed, others): (Vec<_>, _) = all.partition(|reload| reload.server.is(server));
    *reloads = others;
    drop(reloads);
    // Not while it is locked: it may own a server.
    drop(closed);
}

/// On SIGHUP.
pub(super) fn on_signal() {
    // Not locked while they run: one may close a server.
    let reloads: Vec<_> = RELOADS.lock().iter().map(Reload::share).collect();
    let servers = listening::servers();
    // A process is not forked while one is in the middle of something.
    match servers.iter().any(|server| server.children().is_some()) {
        true => drop(fork_lock::run(|| reload_all(&reloads))),
        false => reload_all(&reloads),
    }
}

fn reload_all(reloads: &[Reload]) {
    #[cfg(feature = "systemd")]
    crate::systemd::reloading();
    for Reload { server, reload } in reloads {
        let name = server.log_name();
        match catch_and_log("the reload", || reload(server)) {
            Some(Ok(())) => log_line!(target: "socketserver::server", Info, "{name}: reloaded"),
            Some(Err(error)) => {
                log_line!(target: "socketserver::server", Error, "{name}: not reloaded: {error}");
            }
            None => {}
        }
    }
    #[cfg(feature = "systemd")]
    crate::systemd::reloaded();
}

impl Reload {
    fn share(&self) -> Self {
        Reload {
            server: self.server.clone(),
            reload: Arc::clone(&self.reload),
        }
    }
}
