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
//! If the new process ends first, the old one goes on, and logs why. A new process that does not serve within a minute is
//! killed.
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
mod replacement;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::listening::{ListeningSocket, SocketName, inherited_first, take_over};
pub use self::pid_file::PidFile;
pub(crate) use self::replacement::{cancel, serves, shares_sockets};
use crate::dispatch::Dispatch;
use crate::listener::Listener;
use crate::sys::other_signals;
use crate::{Server, ServerGroup, ServerHandle, task};

/// Replacing the process.
impl ServerHandle {
    /// Replaces the whole process, not this server only, by a new one that runs the same program: see
    /// [`restart`](crate::restart). The new process gets the listening sockets of all servers. Then the servers of this
    /// one are shut down. Feature `restart`.
    ///
    /// Blocks until the new process serves, at most for a minute.
    ///
    /// # Errors
    ///
    /// The new process cannot be started, ends first, or does not serve in time: then this one goes on. `ResourceBusy` if
    /// a restart is under way or was done, if a shutdown has begun, and without a server. `Unsupported` in process 1, and in
    /// a process that a server has forked. `Unsupported` also if a socket was adopted or does not listen, and in a reload
    /// of a program that forks.
    #[doc(alias("hot restart", "graceful restart", "USR2"))]
    pub fn restart(&self) -> io::Result<()> {
        self.restart_within(replacement::TIME_TO_SERVE)
    }

    /// [`restart`](Self::restart) with another limit for the new process.
    ///
    /// # Errors
    ///
    /// Those of [`restart`](Self::restart).
    pub fn restart_within(&self, timeout: Duration) -> io::Result<()> {
        task::blocking(|| replacement::restart(timeout))
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
        replacement::register()
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
        replacement::register()
    }
}
