//! A server as a systemd service: its sockets come from systemd, and it reports its state. Feature `systemd`.
//!
//! ```no_run
//! use socketserver::listener::Tcp;
//! use socketserver::prelude::*;
//! use socketserver::systemd;
//!
//! # struct Upper;
//! # impl RequestHandler for Upper {
//! #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
//! # }
//! fn main() -> std::io::Result<()> {
//!     let socket = systemd::socket::<Tcp>("upper")?;
//!     let server = ThreadingTcpServer::builder().adopt(socket, || Upper)?;
//!     server.shutdown_on_ctrlc()?;
//!     server.notify_systemd()?;
//!     server.serve_forever()
//! }
//! ```
//!
//! `upper.socket` and `upper.service`:
//!
//! ```ini
//! [Socket]
//! ListenStream=80
//! FileDescriptorName=upper
//!
//! [Install]
//! WantedBy=sockets.target
//! ```
//!
//! ```ini
//! [Service]
//! Type=notify
//! ExecStart=/usr/local/bin/upper_server
//! DynamicUser=yes
//! WatchdogSec=30
//! ```
//!
//! The folder `examples/deploy` of the repository has longer ones. Without systemd,
//! `systemd-socket-activate -l 8000 --fdname=upper upper_server` starts the program with a socket.
//!
//! # Sockets
//!
//! [`socket`] takes them. systemd has bound them, so the program needs no privilege for a port below 1024, and clients
//! wait in their queues while it is started or restarted. `Accept=yes` in the unit is not for such a server: it gets one
//! connection, and [`socket`] fails.
//!
//! The options for binding have no effect, as for every [adopted](crate::Builder::adopt) socket.
//! [`request_queue_size`](crate::Builder::request_queue_size) replaces the unit's `Backlog=`, with the system's
//! maximum if it is not set.
//!
//! # Messages
//!
//! [`Server::notify_systemd`] sends them. The unit needs `Type=notify`, and `WatchdogSec=` for the watchdog.
//!
//! | when | message |
//! |---|---|
//! | all servers for which `notify_systemd` was called are served | `READY=1` |
//! | again and again, while their accept loops turn, if the unit has a `WatchdogSec=` | `WATCHDOG=1` |
//! | a shutdown of the last of them begins, and again every 2.5 s while it drains, also during a drain delay | `STOPPING=1` and `EXTEND_TIMEOUT_USEC=` with 10 s |
//! | SIGHUP, with `reload_on_sighup` (feature `restart`); then `READY=1` again | `RELOADING=1` and `MONOTONIC_USEC=` |
//! | a new process has replaced this one (feature `restart`) | `MAINPID=` with its number |
//!
//! So a `TimeoutStopSec=` that is shorter than the [`shutdown_timeout`](crate::Builder::shutdown_timeout) ends no
//! request. `STATUS=` has a line for `systemctl status`.
//!
//! # The watchdog
//!
//! It finds an accept loop that hangs: in a hook, a listener or a dispatcher. It does not look at handlers on threads, tasks
//! or in processes. **On a server without threads a handler runs on the thread of the accept loop: one that takes longer
//! than half of `WatchdogSec=` counts as hanging**, and the process is killed. A server that is not served is not watched.

mod notify_socket;
mod service;

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "restart")]
pub(crate) use self::service::{handed_over, reloaded, reloading};
pub(crate) use self::service::{serving_begun, shutdown_begun, unregister};
use crate::dispatch::Dispatch;
use crate::error::SystemError;
use crate::sys::inherited;
use crate::{Listener, Server, ServerGroup};

/// Whether the program has asked for a socket here.
static HAS_ASKED: AtomicBool = AtomicBool::new(false);

/// Takes the socket with this name that the process was started with, for [`Builder::adopt`](crate::Builder::adopt);
/// with `None` the first of all. Several sockets with one name come in the order of the unit, one with each call.
/// [`Server::notify_systemd`] logs which of them no server has taken when it serves.
///
/// The name is `FileDescriptorName=` in the unit of the socket, by default the name of that unit, such as
/// `upper.socket`. `L` is [`Tcp`](crate::listener::Tcp), [`Unix`](crate::listener::Unix),
/// [`Udp`](crate::listener::Udp) or [`UnixDatagram`](crate::listener::UnixDatagram), or a listener of your own.
///
/// From the first call on, programs that this one starts do not inherit any of the sockets. The environment stays as it
/// is. Feature `systemd`.
///
/// ```no_run
/// use socketserver::listener::{Tcp, Udp};
/// use socketserver::prelude::*;
/// use socketserver::systemd;
///
/// # fn main() -> std::io::Result<()> {
/// let mut group = ServerGroup::new();
/// let tcp = ThreadingTcpServer::builder();
/// group.add(tcp.adopt_fn(systemd::socket::<Tcp>("dns-tcp")?, |_| Ok(()))?);
/// let udp = UdpServer::builder();
/// group.add(udp.adopt_fn(systemd::socket::<Udp>("dns-udp")?, |_| Ok(()))?);
/// group.shutdown_on_ctrlc()?;
/// group.notify_systemd()?;
/// group.serve_forever()
/// # }
/// ```
///
/// # Errors
///
/// `NotFound` if there is none (any more): the text says which there are, or that `LISTEN_PID` or `LISTEN_FDS` is
/// missing or for another process. `InvalidInput` if it has the wrong type: a datagram socket for a TCP server, or a
/// connection (`Accept=yes`).
#[doc(alias("LISTEN_FDS", "sd_listen_fds", "socket activation", "listenfd"))]
pub fn socket<'a, L>(name: impl Into<Option<&'a str>>) -> io::Result<L>
where
    L: Listener + From<OwnedFd>,
{
    let name = name.into();
    HAS_ASKED.store(true, Ordering::SeqCst);
    let socket = inherited::take(name).ok_or_else(|| missing(name))?;
    let mut listener = L::from(socket);
    // It listens already. This checks its type.
    listener.server_activate().map_err(|error| {
        let text = format!("{} from the service manager: {error}", describe(name));
        SystemError::describe(&error, text)
    })?;
    Ok(listener)
}

/// The names of sockets that were not taken. Empty if the program takes its sockets in another way.
fn untaken() -> Vec<String> {
    match HAS_ASKED.load(Ordering::SeqCst) {
        true => inherited::names(),
        false => Vec::new(),
    }
}

fn describe(name: Option<&str>) -> String {
    name.map_or("the socket".to_owned(), |name| {
        format!("the socket {name:?}")
    })
}

fn missing(name: Option<&str>) -> io::Error {
    let text = format!(
        "{} from the service manager is missing: {}",
        describe(name),
        why()
    );
    io::Error::new(io::ErrorKind::NotFound, text)
}

/// Why a socket is missing.
fn why() -> String {
    let variable = |name| env::var(name).ok();
    let (process, sockets) = (variable("LISTEN_PID"), variable("LISTEN_FDS"));
    let own = process::id().to_string();
    match (process, sockets) {
        (None, _) => {
            "LISTEN_PID is not set: the program was not started with a socket. Start its .socket unit, or use systemd-socket-activate".to_owned()
        }
        (_, None) => "LISTEN_FDS is not set".to_owned(),
        (Some(other), _) if other != own => {
            format!("LISTEN_PID is {other:?}, and this is process {own}")
        }
        (_, Some(count)) => match &*inherited::names() {
            [] => format!("LISTEN_FDS is {count:?}, and no such descriptor is open or left"),
            names => format!("the sockets have the names {names:?}"),
        },
    }
}

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Reports to systemd, or another service manager with a `NOTIFY_SOCKET`: when the server serves, when a shutdown
    /// begins, that it still drains, and for the watchdog. See [`systemd`](crate::systemd) for the messages.
    ///
    /// Does nothing without `NOTIFY_SOCKET`. Call it before serving; several servers of one process may call it, all of
    /// them before the first is served. The messages are sent on the thread that serves, on the one that calls
    /// [`shutdown`](crate::ServerHandle::shutdown), and on the library's thread for timers. If the manager does not
    /// read, a message about the beginning waits for half a second, and those that are repeated not at all. The first error of sending is logged.
    ///
    /// A process that was forked by a forking server sends nothing. Feature `systemd`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `NOTIFY_SOCKET` is neither a path nor an abstract name; no descriptor is free; the thread for
    /// timers cannot be started.
    #[doc(alias("sd_notify", "WatchdogSec", "NOTIFY_SOCKET"))]
    pub fn notify_systemd(&self) -> io::Result<()> {
        service::register(vec![self.handle()])
    }
}

impl ServerGroup {
    /// [`Server::notify_systemd`] for all servers of the group. Feature `systemd`.
    ///
    /// # Errors
    ///
    /// Those of [`Server::notify_systemd`].
    pub fn notify_systemd(&self) -> io::Result<()> {
        service::register(self.handle().servers())
    }
}
