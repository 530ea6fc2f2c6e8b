//! Hot restart: a new process takes the listening sockets over while the old one serves. No client is refused or
//! reset. Feature `restart`.
//!
//! On SIGUSR2 ([`Server::restart_on_sigusr2`]), or when the program calls [`ServerHandle::restart`]:
//!
//! 1. The process starts its program once more: the first argument, which may be a new binary by now, with the same
//!    arguments, in the folder that the process was started in.
//! 2. The new process gets all listening sockets. [`Builder::bind`](crate::Builder::bind) finds them by kind and
//!    requested address, so its code is the same in both. It does not bind them again, and the hook
//!    [`server_bind`](crate::Hooks::server_bind) is not called.
//! 3. When a server of the new process serves, the old process stops accepting. Each of its connections ends after its
//!    next answer. When all have ended, and after 5 seconds at the latest, the usual
//!    [shutdown](crate::guide::shutdown) begins.
//!
//! If the new process ends first, or does not serve within a minute, it is killed. The old one goes on, and logs why.
//!
//! No client is refused or reset: what waits in the system's queues is for either process, and so is a datagram. A
//! Unix socket keeps its path.
//!
//! ```no_run
//! use socketserver::prelude::*;
//!
//! # fn main() -> std::io::Result<()> {
//! let server = ThreadingTcpServer::bind_fn("127.0.0.1:9999", |request| {
//!     Ok(request.wfile.write_all(b"version 1\n")?)
//! })?;
//! server.shutdown_on_ctrlc()?;
//! server.restart_on_sigusr2()?;
//! server.serve_forever()
//! # }
//! ```
//!
//! # What it does not do
//!
//! - The new process has another process number. A supervisor that watches the old one takes its end for the end of the
//!   service. systemd gets the new number if the program calls `notify_systemd`; scripts read a [`PidFile`]. In a
//!   container the restart fails in process 1, and under `tini` (`docker run --init`) the container ends with the old
//!   process.
//! - A restart in a terminal runs the new process in the background.
//! - A socket that the program has opened itself and [adopted](crate::Builder::adopt) is not handed over.
//! - A child of a server that forks ends its connection at the latest then, as at a [shutdown](crate::guide::shutdown). A
//!   client that sends its next message just then is reset.
//! - The state of the program, and open connections: they stay in the old process.
//! - A socket for which the new process makes no server stays open in it, and its clients wait. A warning is logged.
//! - The new process gets no open descriptor but these sockets, standard input, output and error. The descriptors start at
//!   3, and the variables `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` describe them as systemd does: a new version
//!   that is written without this crate finds them too. It has to write a byte to the descriptor in
//!   `SOCKETSERVER_READY_FD` when it serves.

mod ending;
mod listening;
mod pid_file;
mod reload;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use self::listening::{ListeningSocket, SocketName, inherited_first, take_over};
pub use self::pid_file::PidFile;
use crate::dispatch::Dispatch;
use crate::listener::Listener;
use crate::log_line::log_line;
use crate::sys::new_process::{self, NewProcess};
use crate::sys::{fork_lock, inherited, other_signals, poll_thread};
use crate::{Server, ServerGroup, ServerHandle, task};

/// How long a new process may take until it serves.
const TIME_TO_SERVE: Duration = Duration::from_secs(60);

/// How long a process that serves waits for its predecessor at most.
const TIME_TO_HAND_OVER: Duration = Duration::from_secs(1);

/// Locked during a restart.
static RESTART: Mutex<()> = Mutex::new(());

/// Another process serves with the sockets of this one.
static IS_REPLACED: AtomicBool = AtomicBool::new(false);

/// A server of this process has begun to serve.
static HAS_SERVED: AtomicBool = AtomicBool::new(false);

/// A signal has shut the servers down.
static IS_CANCELLED: AtomicBool = AtomicBool::new(false);

/// The number of a process that starts, or 0.
static STARTING: AtomicU32 = AtomicU32::new(0);

static START_FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Replacing the process.
impl ServerHandle {
    /// Replaces the whole process, not this server only, by a new one that runs the same program, and hands over the
    /// listening sockets of all its servers: see [`restart`](crate::restart). Then all its servers are shut down. Feature
    /// `restart`.
    ///
    /// Blocks until the new process serves, at most for a minute.
    ///
    /// # Errors
    ///
    /// The new process cannot be started, ends first, or does not serve in time: then this one goes on. `ResourceBusy` if
    /// a restart is under way or was done, or a shutdown has begun; `Unsupported` in process 1, and if a server has a socket that cannot be handed
    /// over.
    #[doc(alias("hot restart", "graceful restart", "USR2"))]
    pub fn restart(&self) -> io::Result<()> {
        self.restart_within(TIME_TO_SERVE)
    }

    /// [`restart`](Self::restart) with another limit for the new process.
    ///
    /// # Errors
    ///
    /// Those of [`restart`](Self::restart).
    pub fn restart_within(&self, timeout: Duration) -> io::Result<()> {
        task::blocking(|| restart(timeout))
    }
}

/// Signals that do not end the process.
impl<L: Listener, D: Dispatch> Server<L, D> {
    /// On SIGUSR2 a new process [replaces](crate::restart) this one, as with [`ServerHandle::restart`]. If that fails, the
    /// error is logged. Feature `restart`.
    ///
    /// # Errors
    ///
    /// The thread for signals cannot be started.
    pub fn restart_on_sigusr2(&self) -> io::Result<()> {
        start_folder();
        other_signals::on_sigusr2(on_signal)
    }

    /// On SIGHUP `reload` is called, which reads new certificates or settings, for example. The signal does not end the
    /// process then, also after [`shutdown_on_ctrlc`](Self::shutdown_on_ctrlc). An error or a panic is logged, and the
    /// server goes on. It runs on the thread for signals, and is removed when the server is closed. In a program with a
    /// server that forks, timers and further signals wait for it. Feature `restart`.
    ///
    /// If SIGHUP is ignored, because `nohup` has started the program, it stays ignored.
    ///
    /// ```no_run
    /// use socketserver::prelude::*;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:9999", |_| Ok(()))?;
    /// server.reload_on_sighup(|server| {
    ///     let limit = std::fs::read_to_string("connections.conf")?;
    ///     let limit: usize = limit.trim().parse().map_err(std::io::Error::other)?;
    ///     server.set_max_connections(limit);
    ///     Ok(())
    /// })?;
    /// server.serve_forever()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The thread for signals cannot be started.
    #[doc(alias = "SIGHUP")]
    pub fn reload_on_sighup(
        &self,
        reload: impl Fn(&ServerHandle) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<()> {
        reload::add(self.handle(), Arc::new(reload));
        other_signals::on_sighup(reload::on_signal)
    }
}

impl ServerGroup {
    /// [`Server::restart_on_sigusr2`], for the process of these servers. Feature `restart`.
    ///
    /// # Errors
    ///
    /// The thread for signals cannot be started.
    pub fn restart_on_sigusr2(&self) -> io::Result<()> {
        start_folder();
        other_signals::on_sigusr2(on_signal)
    }
}

/// On SIGUSR2.
fn on_signal() {
    let restarted = restart(TIME_TO_SERVE);
    fork_lock::run(|| match restarted {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            log_line!(target: "socketserver::server", Warn, "not restarted: {error}");
        }
        Err(error) => {
            log_line!(target: "socketserver::server", Error, "not restarted, this process goes on: {error}");
        }
    });
}

fn restart(timeout: Duration) -> io::Result<()> {
    use io::ErrorKind::{ResourceBusy, Unsupported};
    let fail = |kind, text: &str| Err(io::Error::new(kind, text));
    let Some(_only) = RESTART.try_lock() else {
        return fail(ResourceBusy, "a restart is under way");
    };
    if IS_REPLACED.load(Ordering::SeqCst) {
        return fail(ResourceBusy, "another process has replaced this one");
    }
    if is_replacing() {
        return fail(ResourceBusy, "this process does not serve yet");
    }
    if process::id() == 1 {
        let text = "process 1 cannot be replaced: its container ends with it";
        return fail(Unsupported, text);
    }
    if poll_thread::is_missing() {
        let text = "a process that a server has forked cannot be replaced";
        return fail(Unsupported, text);
    }
    if is_ending() {
        return fail(ResourceBusy, "this process is shutting down");
    }
    // Not locked while it waits: a server that forks goes on.
    let panicked = || Err(io::Error::other("the restart panicked"));
    let mut new = fork_lock::run(start).unwrap_or_else(panicked)?;
    let id = new.id();
    STARTING.store(id, Ordering::SeqCst);
    if is_ending() {
        new_process::terminate(id);
    }
    let served = new.wait_until_it_serves(timeout);
    let is_late = served.is_ok() && is_ending();
    if is_late {
        new_process::terminate(id);
    }
    IS_REPLACED.store(served.is_ok() && !is_late, Ordering::SeqCst);
    STARTING.store(0, Ordering::SeqCst);
    served?;
    if is_late {
        return fail(ResourceBusy, "a shutdown has begun meanwhile");
    }
    #[cfg(feature = "systemd")]
    crate::systemd::handed_over(id);
    // The new process goes on when its socket to this one is closed.
    drop(new);
    fork_lock::run(|| ending::begin(id));
    Ok(())
}

/// Whether another process has the sockets of this one too.
pub(crate) fn shares_sockets() -> bool {
    IS_REPLACED.load(Ordering::SeqCst) || STARTING.load(Ordering::SeqCst) != 0 || is_replacing()
}

/// Whether this process is to replace another one, and does not serve yet.
fn is_replacing() -> bool {
    inherited::replaces_another() && !HAS_SERVED.load(Ordering::SeqCst)
}

/// Whether this process shuts down, or has no server.
fn is_ending() -> bool {
    let servers = listening::servers();
    let shuts_down = servers.is_empty() || servers.iter().any(ServerHandle::is_shutting_down);
    shuts_down || IS_CANCELLED.load(Ordering::SeqCst)
}

fn start() -> io::Result<NewProcess> {
    let sockets = listening::copies()?;
    let names = sockets.iter().map(|(name, _)| listening::describe(name));
    let names: Vec<_> = names.collect();
    log_line!(target: "socketserver::server", Info, "restart: starting the program again, for {}", names.join(", "));
    NewProcess::start(start_folder(), &sockets)
}

/// The folder that the program was started in, if this is called early.
fn start_folder() -> Option<&'static Path> {
    let folder = START_FOLDER.get_or_init(|| std::env::current_dir().ok());
    folder.as_deref()
}

/// A signal shuts the servers down: a process that starts is not needed any more.
pub(crate) fn cancel() {
    IS_CANCELLED.store(true, Ordering::SeqCst);
    end_new_process();
}

fn end_new_process() {
    match STARTING.load(Ordering::SeqCst) {
        0 => {}
        id => new_process::terminate(id),
    }
}

/// A server of this process begins to serve.
pub(crate) fn serves() {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        let Some(mut predecessor) = inherited::ready() else {
            return;
        };
        for name in inherited::names() {
            log_line!(target: "socketserver::server", Warn, "{}: the process before has served it, and no server of this one has taken it: its clients wait", listening::describe(&name));
        }
        pid_file::write_all();
        HAS_SERVED.store(true, Ordering::SeqCst);
        if let Err(error) = predecessor.write_all(b"1") {
            log_line!(target: "socketserver::server", Warn, "the process before has ended already: {error}");
            return;
        }
        // Until it has told systemd which process is the main one: systemd accepts no message of another.
        let _ = predecessor.set_read_timeout(Some(TIME_TO_HAND_OVER));
        let _ = predecessor.read(&mut [0]);
    });
}
