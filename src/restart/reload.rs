use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

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
    RELOADS.lock().retain(|reload| !reload.server.is(server));
}

/// On SIGHUP.
pub(super) fn on_signal() {
    fork_lock::run(|| {
        // Not locked while they run: one may close a server.
        let reloads = RELOADS.lock();
        let calls: Vec<_> = reloads
            .iter()
            .map(|r| (r.server.clone(), Arc::clone(&r.reload)))
            .collect();
        drop(reloads);
        #[cfg(feature = "systemd")]
        crate::systemd::reloading();
        for (server, reload) in calls {
            let name = server.log_name();
            match catch_and_log("the reload", || reload(&server)) {
                Some(Ok(())) => log_line!(target: "socketserver::server", Info, "{name}: reloaded"),
                Some(Err(error)) => {
                    log_line!(target: "socketserver::server", Error, "{name}: not reloaded: {error}")
                }
                None => {}
            }
        }
        #[cfg(feature = "systemd")]
        crate::systemd::reloaded();
    });
}
