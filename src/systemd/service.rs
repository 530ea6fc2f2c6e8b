//! The state that is reported to the service manager.

use std::env;
use std::io;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
// A `std` lock, as for the timers.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::notify_socket::{NotifySocket, Patience};
use crate::ServerHandle;
use crate::log_line::{self, log_line};
use crate::sys::timer::{OnTimer, Timer};

/// How long the manager waits for the next message while the process drains.
const EXTENSION: Duration = Duration::from_secs(10);

/// How often an accept loop is asked to turn in one interval of the watchdog.
const ASKS: u32 = 8;

/// `None` until a server is registered.
static SERVICE: Mutex<Option<Service>> = Mutex::new(None);

/// The process whose servers are registered, or 0. A process that it forks sends nothing.
static PROCESS: AtomicU32 = AtomicU32::new(0);

struct Service {
    socket: NotifySocket,
    servers: Vec<Registered>,
    is_ready: bool,
    is_stopping: bool,
    watchdog: Option<Repeated>,
    /// How often in a row an accept loop had not turned.
    missed: u32,
    extension: Option<Repeated>,
    has_failed: bool,
    /// To be logged when the service is not locked: the logger is the program's.
    warning: Option<String>,
}

struct Registered {
    server: ServerHandle,
    is_stopping: bool,
}

pub(super) fn register(servers: Vec<ServerHandle>) -> io::Result<()> {
    let mut service = lock();
    if service.is_none() {
        *service = NotifySocket::from_env()?.map(Service::new);
    }
    if let Some(service) = &mut *service {
        service.watch()?;
        service.add(servers);
        PROCESS.store(process::id(), Ordering::SeqCst);
    }
    Ok(())
}

/// Removes a server that is closed.
pub(crate) fn unregister(server: &ServerHandle) {
    update(Patience::Fail, |service| {
        service.servers.retain(|other| !other.server.is(server));
        if service.servers.is_empty() {
            (service.watchdog, service.extension) = (None, None);
        }
        service.ready()
    });
}

/// A thread begins to serve one of the servers.
pub(crate) fn serving_begun() {
    update(Patience::Wait, Service::ready);
}

/// A shutdown begins. Called again, it does nothing.
pub(crate) fn shutdown_begun(server: &ServerHandle) {
    update(Patience::Fail, |service| service.stop(server));
}

/// The program reads its configuration again, until [`reloaded`].
#[cfg(feature = "restart")]
pub(crate) fn reloading() {
    update(Patience::Wait, |_| {
        let now = crate::sys::monotonic_time().as_micros();
        Some(format!("RELOADING=1\nMONOTONIC_USEC={now}"))
    });
}

#[cfg(feature = "restart")]
pub(crate) fn reloaded() {
    update(Patience::Wait, |service| {
        let is_ready = service.is_ready && !service.is_stopping;
        is_ready.then(|| service.ready_message())
    });
}

/// Another process is the main one of the service from now on. This one sends no further message: the end of its
/// servers is not that of the service.
#[cfg(feature = "restart")]
pub(crate) fn handed_over(main_process: u32) {
    update(Patience::Wait, |_| Some(format!("MAINPID={main_process}")));
    PROCESS.store(0, Ordering::SeqCst);
    *lock() = None;
}

fn lock() -> MutexGuard<'static, Option<Service>> {
    SERVICE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the state, and sends the message that `change` returns. Does nothing without registered servers.
fn update(patience: Patience, change: impl FnOnce(&mut Service) -> Option<String>) {
    let registered = PROCESS.load(Ordering::SeqCst);
    if registered == 0 || registered != process::id() {
        return;
    }
    let mut locked = lock();
    let warning = locked.as_mut().and_then(|service| {
        // While it is locked, so that the messages arrive in their order.
        let message = change(service);
        let sent = message.map_or(Ok(()), |message| service.socket.send(&message, patience));
        if let Err(error) = sent {
            service.warn_once(&error);
        }
        service.warning.take()
    });
    drop(locked);
    if let Some(warning) = warning {
        log_line!(target: "socketserver::systemd", Warn, "{warning}");
    }
}

impl Service {
    fn new(socket: NotifySocket) -> Self {
        Service {
            socket,
            servers: Vec::new(),
            is_ready: false,
            is_stopping: false,
            watchdog: None,
            missed: 0,
            extension: None,
            has_failed: false,
            warning: None,
        }
    }

    /// Starts the watchdog, if the manager expects it.
    fn watch(&mut self) -> io::Result<()> {
        if let Some(interval) = watchdog_interval().filter(|_| self.watchdog.is_none()) {
            let period = (interval / ASKS).max(Duration::from_millis(1));
            self.watchdog = Some(Repeated::start(period, Service::feed_watchdog)?);
        }
        Ok(())
    }

    fn add(&mut self, servers: Vec<ServerHandle>) {
        if self.servers.is_empty() {
            (self.is_ready, self.is_stopping) = (false, false);
        }
        for server in servers {
            if !self.servers.iter().any(|other| other.server.is(&server)) {
                let is_stopping = server.is_shutdown_begun();
                self.servers.push(Registered {
                    server,
                    is_stopping,
                });
            }
        }
    }

    /// The message when all servers serve for the first time.
    fn ready(&mut self) -> Option<String> {
        let is_served = |each: &Registered| each.server.is_serving() && !each.is_stopping;
        let is_served = !self.servers.is_empty() && self.servers.iter().all(is_served);
        if self.is_ready || !is_served {
            return None;
        }
        self.is_ready = true;
        let left = super::untaken();
        if !left.is_empty() {
            let text =
                "no server has taken these sockets of the service manager, and their clients wait";
            self.warning = Some(format!("{text}: {}", left.join(", ")));
        }
        Some(self.ready_message())
    }

    fn ready_message(&self) -> String {
        let names = self.servers.iter().map(|each| each.server.name());
        let names = names.collect::<Vec<_>>().join(", ");
        // Escaped, because a name may contain the end of a line.
        let names = log_line::render(format_args!("{names}"));
        format!("READY=1\nSTATUS=serving on {names}")
    }

    fn stop(&mut self, server: &ServerHandle) -> Option<String> {
        let mut servers = self.servers.iter_mut();
        servers.find(|each| each.server.is(server))?.is_stopping = true;
        if self.is_stopping || !self.servers.iter().all(|each| each.is_stopping) {
            return None;
        }
        self.is_stopping = true;
        match Repeated::start(EXTENSION / 4, Service::extend) {
            Ok(repeated) => self.extension = Some(repeated),
            Err(error) => self.warning = Some(format!("no timer for the service manager: {error}")),
        }
        Some(self.stopping_message())
    }

    /// While a server may take time for its requests.
    fn extend(&mut self) -> Option<String> {
        let mut servers = self.servers.iter();
        let drains = servers.any(|each| each.server.may_drain());
        drains.then(|| self.stopping_message())
    }

    fn stopping_message(&self) -> String {
        let running = self.servers.iter();
        let running: usize = running.map(|each| each.server.registry().present()).sum();
        let time = EXTENSION.as_micros();
        format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={time}\nSTATUS=shutting down; running requests: {running}"
        )
    }

    /// Asks all accept loops to turn. If all have turned since the last time, this returns the message.
    fn feed_watchdog(&mut self) -> Option<String> {
        if let Some(hanging) = self.servers.iter().find(|each| each.hangs()) {
            self.missed += 1;
            if self.missed == ASKS / 2 {
                let name = hanging.server.log_name();
                let text = "its accept loop does not turn, so the watchdog will end the process";
                self.warning = Some(format!("{name}: {text}"));
            }
            return None;
        }
        self.missed = 0;
        self.servers
            .iter()
            .for_each(|each| each.server.ask_for_turn());
        self.is_ready.then(|| "WATCHDOG=1".to_owned())
    }

    fn warn_once(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            let text = "cannot send to the service manager at NOTIFY_SOCKET";
            self.warning = Some(format!("{text}: {error}; this is logged once"));
        }
    }
}

impl Registered {
    /// Whether its accept loop should have turned. While it drains, the time limit of the shutdown applies instead.
    fn hangs(&self) -> bool {
        self.server.owes_turn() && !(self.is_stopping && self.server.may_drain())
    }
}

/// How long the manager waits for a sign of life of this process.
fn watchdog_interval() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_for_other = |pid| pid != u64::from(process::id());
    if number("WATCHDOG_PID").is_some_and(is_for_other) {
        return None;
    }
    let interval = number("WATCHDOG_USEC").map(Duration::from_micros);
    interval.filter(|interval| !interval.is_zero())
}

/// Sends a message again and again, until it is dropped.
struct Repeated {
    _timer: Timer,
    _message: Arc<Message>,
}

struct Message {
    period: Duration,
    text: fn(&mut Service) -> Option<String>,
}

impl Repeated {
    fn start(period: Duration, text: fn(&mut Service) -> Option<String>) -> io::Result<Self> {
        let message = Arc::new(Message { period, text });
        let target: Weak<Message> = Arc::downgrade(&message);
        Ok(Repeated {
            _timer: Timer::set(Instant::now() + period, target)?,
            _message: message,
        })
    }
}

impl OnTimer for Message {
    fn on_timer(&self, now: Instant) -> Option<Instant> {
        update(Patience::Fail, self.text);
        now.checked_add(self.period)
    }
}

#[cfg(all(test, feature = "restart"))]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::TcpServer;

    fn receive(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 1000];
        let length = manager.recv(&mut buffer).expect("a message was sent");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_reload_and_another_main_process_are_reported_and_then_nothing() {
        let path = env::temp_dir().join(format!("socketserver-notify-{}", process::id()));
        let manager = UnixDatagram::bind(&path).expect("the folder is writable");
        manager.set_nonblocking(true).expect("the option is set");
        let socket = NotifySocket::to(path.as_os_str()).expect("it is a path");
        *lock() = Some(Service::new(socket));
        let server = TcpServer::bind_fn("127.0.0.1:0", |_| Ok(())).expect("a port is free");
        register(vec![server.handle()]).expect("there is a manager");
        reloading();
        let message = receive(&manager);
        let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let time: u128 = time.and_then(|time| time.parse().ok()).expect(&message);
        assert!(time > 0 && time <= crate::sys::monotonic_time().as_micros());
        handed_over(4711);
        assert_eq!(receive(&manager), "MAINPID=4711");
        server.shutdown();
        drop(server);
        manager.recv(&mut [0]).expect_err("nothing follows");
        fs::remove_file(path).expect("it is there");
    }
}
