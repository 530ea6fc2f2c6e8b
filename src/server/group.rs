use std::fmt;
use std::io;
use std::thread;

use super::Server;
use crate::dispatch::Dispatch;
use crate::error::{Panicked, catch};
use crate::handle::GroupHandle;
use crate::listener::Listener;
use crate::log_line::log_line;
use crate::sync::Mutex;
use crate::{Address, ServerHandle};

/// Several servers that are served as one: TCP beside UDP, several addresses, a Unix socket for the
/// administrator. When one of them is shut down or fails, all are shut down. The longest
/// [`drain_delay`](super::Builder::drain_delay) of them applies to all, but not after a failure.
///
/// The servers may be of any kinds and have any dispatchers, except one that forks: each is served on a
/// thread of its own, and a process forks only while it has no other threads. Each keeps its own settings;
/// [`max_connections`](Self::max_connections) is a limit for all together. Log lines about a request have
/// the name of the server in front.
///
/// Dropping the group shuts all servers down, closes all sockets, and waits for the running requests.
///
/// ```
/// use socketserver::prelude::*;
///
/// # fn main() -> std::io::Result<()> {
/// let (tcp, udp) = ServerGroup::same_port(
///     || {
///         ThreadingTcpServer::bind_fn("127.0.0.1:0", |request| {
///             Ok(request.wfile.write_all(b"hello over TCP")?)
///         })
///     },
///     |address| {
///         UdpServer::bind_fn(address, |request| {
///             request.wfile = b"hello over UDP".to_vec();
///             Ok(())
///         })
///     },
/// )?;
/// let mut group = ServerGroup::new().max_connections(1000);
/// group.add(tcp);
/// group.add(udp);
/// # let handle = group.handle();
/// # std::thread::spawn(move || handle.shutdown());
/// group.shutdown_on_ctrlc()?;
/// group.serve_forever()
/// # }
/// ```
#[must_use = "the servers of a group are shut down when it is dropped"]
pub struct ServerGroup {
    members: Vec<Box<dyn Member>>,
    handle: GroupHandle,
    /// Locked by the thread that serves.
    served: Mutex<()>,
}

impl ServerGroup {
    /// A group without servers.
    pub fn new() -> Self {
        ServerGroup {
            members: Vec::new(),
            handle: GroupHandle::new(),
            served: Mutex::default(),
        }
    }

    /// How many connections all servers together may serve at once, from accept to close. At the limit the
    /// [`overload`](super::Builder::overload) of each server applies to its new clients. Datagrams do not
    /// count. A server's own [`max_connections`](super::Builder::max_connections) applies too. 0 counts as 1.
    /// `None`, the default, is no limit.
    pub fn max_connections(self, connections: impl Into<Option<usize>>) -> Self {
        self.handle.set_max_connections(connections);
        self
    }

    /// Adds a server, and returns its handle. Connections that it has accepted before do not count for the
    /// limit of the group.
    pub fn add<L: Listener, D: Dispatch>(&mut self, server: Server<L, D>) -> ServerHandle {
        let handle = server.handle();
        self.handle.add(handle.clone());
        self.members.push(Box::new(server));
        handle
    }

    /// A handle to all servers, for other threads: shutdown, statistics, limit.
    pub fn handle(&self) -> GroupHandle {
        self.handle.clone()
    }

    /// [`Server::shutdown_on_ctrlc`] for all servers.
    ///
    /// # Errors
    ///
    /// Those of [`Server::shutdown_on_ctrlc`].
    pub fn shutdown_on_ctrlc(&self) -> io::Result<()> {
        let mut members = self.members.iter();
        members.try_for_each(|member| member.shutdown_on_ctrlc())
    }

    /// Serves all servers until one of them is [shut down](ServerHandle::shutdown) or fails; then it shuts
    /// down the others, and returns when none is served any more. After
    /// [`stop_serving`](GroupHandle::stop_serving), of the group or one server, it returns too, and can be
    /// called again.
    ///
    /// Blocks. The first server is served on the calling thread. Dropping the group waits for running
    /// requests.
    ///
    /// # Errors
    ///
    /// What [`Server::serve_forever`] returns for the first server that fails; `ResourceBusy` if another
    /// thread serves the group; `InvalidInput` for a group without servers; `NotConnected` for a server that
    /// is not activated; `Unsupported` for one that forks; a thread cannot be started.
    pub fn serve_forever(&self) -> io::Result<()> {
        let busy = || fail(io::ErrorKind::ResourceBusy, "the group is served already");
        let served = self.served.try_lock().ok_or_else(busy)?;
        self.check()?;
        let serving = self.handle.start_serving();
        let result = self.serve_all();
        // A request to one server may come when it has stopped with the others.
        let handles = self.members.iter().map(|member| member.handle());
        let late: Vec<_> = handles.map(ServerHandle::take_late_stop).collect();
        let result = late.into_iter().fold(result, io::Result::and);
        let result = result.and(serving.end());
        // First: who waits for the end may serve at once.
        drop(served);
        result
    }

    fn serve_all(&self) -> io::Result<()> {
        let (first, others) = self.members.split_first().expect("it was checked");
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for member in others {
                let thread = thread::Builder::new().name("server".to_owned());
                let thread = thread.spawn_scoped(scope, || self.serve(&**member));
                threads.push(thread.inspect_err(|_| self.handle.shutdown_now())?);
            }
            let first = self.serve(&**first);
            let panicked = |payload| Err(io::Error::other(Panicked::new(payload)));
            let ended =
                |thread: thread::ScopedJoinHandle<_>| thread.join().unwrap_or_else(panicked);
            // All have ended before the first error is returned.
            let others: Vec<_> = threads.into_iter().map(ended).collect();
            others.into_iter().fold(first, io::Result::and)
        })
    }

    /// Serves one server, and ends the others with it.
    fn serve(&self, member: &dyn Member) -> io::Result<()> {
        let panicked = |panicked| Err(io::Error::other(panicked));
        let served = catch(|| member.serve_forever()).unwrap_or_else(panicked);
        if let Err(error) = &served {
            let name = member.handle().log_name();
            log_line!(target: "socketserver::server", Warn, "{name} failed, and its group is shut down: {error}");
        }
        if served.is_err() || member.handle().is_shutdown_begun() {
            self.handle.shutdown_now();
        } else {
            self.handle.stop_serving();
        }
        served
    }

    fn check(&self) -> io::Result<()> {
        use io::ErrorKind::{InvalidInput, NotConnected, Unsupported};
        if self.members.is_empty() {
            return Err(fail(InvalidInput, "a group without servers cannot serve"));
        }
        for member in &self.members {
            let name = member.handle().log_name();
            if member.handle().children().is_some() {
                let text = "forks, and cannot be in a group: a process forks only while it has no other threads";
                return Err(fail(Unsupported, format!("the server {name} {text}")));
            }
            if !member.is_active() {
                return Err(fail(
                    NotConnected,
                    format!("the server {name} is not active"),
                ));
            }
        }
        Ok(())
    }

    /// Binds two servers to one port number, usually over TCP and UDP. If `bind_first` binds port 0,
    /// and the port that it gets is in use for `bind_second`, both are tried again with another port.
    ///
    /// # Errors
    ///
    /// Those of the two functions; `AddrInUse` also if no port that is free for both was found in 100
    /// attempts.
    pub fn same_port<L, D, M, E>(
        bind_first: impl Fn() -> io::Result<Server<L, D>>,
        bind_second: impl Fn(&Address) -> io::Result<Server<M, E>>,
    ) -> io::Result<(Server<L, D>, Server<M, E>)>
    where
        L: Listener,
        D: Dispatch,
        M: Listener,
        E: Dispatch,
    {
        const ATTEMPTS: usize = 100;
        let mut first = bind_first()?;
        for _ in 1..ATTEMPTS {
            let error = match bind_second(first.server_address()) {
                Ok(second) => return Ok((first, second)),
                Err(error) => error,
            };
            if error.kind() != io::ErrorKind::AddrInUse {
                return Err(error);
            }
            // The one before is still bound, so this fails if the port was requested by number.
            first = match bind_first() {
                Ok(next) if next.server_address() != first.server_address() => next,
                _ => return Err(error),
            };
        }
        let second = bind_second(first.server_address())?;
        Ok((first, second))
    }
}

impl fmt::Debug for ServerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerGroup")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

fn fail(kind: io::ErrorKind, text: impl Into<String>) -> io::Error {
    io::Error::new(kind, text.into())
}

impl Default for ServerGroup {
    fn default() -> Self {
        ServerGroup::new()
    }
}

/// All sockets are closed before one server waits for its requests.
impl Drop for ServerGroup {
    fn drop(&mut self) {
        self.handle.shutdown_now();
        self.members
            .iter_mut()
            .for_each(|member| member.close_socket());
    }
}

/// A server, whatever its kind and dispatcher.
trait Member: Send + Sync {
    fn handle(&self) -> &ServerHandle;
    fn is_active(&self) -> bool;
    fn serve_forever(&self) -> io::Result<()>;
    fn shutdown_on_ctrlc(&self) -> io::Result<()>;
    /// The first part of closing it.
    fn close_socket(&mut self);
}

impl<L: Listener, D: Dispatch> Member for Server<L, D> {
    fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn serve_forever(&self) -> io::Result<()> {
        self.serve_forever()
    }

    fn shutdown_on_ctrlc(&self) -> io::Result<()> {
        self.shutdown_on_ctrlc()
    }

    fn close_socket(&mut self) {
        self.close_socket();
    }
}
