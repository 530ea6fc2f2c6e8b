//! The replacement of this process by a new one, on both sides.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::{ending, listening, pid_file};
use crate::ServerHandle;
use crate::log_line::log_line;
use crate::sys::new_process::{self, NewProcess};
use crate::sys::{fork_lock, inherited, other_signals, poll_thread};

/// How long a new process may take until it serves.
pub(super) const TIME_TO_SERVE: Duration = Duration::from_secs(60);

/// How long a process that serves waits for its predecessor at most.
const TIME_TO_HAND_OVER: Duration = Duration::from_secs(1);

/// Locked during a restart.
static RESTART: Mutex<()> = Mutex::new(());

/// Another process serves with the sockets of this one.
static IS_REPLACED: AtomicBool = AtomicBool::new(false);

/// A server of this process has begun to serve, and no process before it serves any more.
static HAS_SERVED: AtomicBool = AtomicBool::new(false);

/// A signal has shut the servers down.
static IS_CANCELLED: AtomicBool = AtomicBool::new(false);

/// From the copies of the sockets until the new process serves or has ended.
static IS_STARTING: AtomicBool = AtomicBool::new(false);

/// The number of the process that starts, or 0.
static STARTING: AtomicU32 = AtomicU32::new(0);

static START_FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();

pub(super) fn register() -> io::Result<()> {
    start_folder();
    other_signals::on_sigusr2(on_signal)
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

pub(super) fn restart(timeout: Duration) -> io::Result<()> {
    let under_way = || busy("a restart is under way");
    let _only = RESTART.try_lock().ok_or_else(under_way)?;
    check()?;
    IS_STARTING.store(true, Ordering::SeqCst);
    let started = start_and_wait(timeout);
    STARTING.store(0, Ordering::SeqCst);
    IS_REPLACED.store(started.is_ok(), Ordering::SeqCst);
    IS_STARTING.store(false, Ordering::SeqCst);
    let new = started.inspect_err(|_| listening::notify())?;
    #[cfg(feature = "systemd")]
    crate::systemd::handed_over(new.id());
    new.begin();
    fork_lock::run(|| ending::begin(new.id()));
    Ok(())
}

fn start_and_wait(timeout: Duration) -> io::Result<NewProcess> {
    // The lock is for forking. It is free while this waits: a server that forks goes on.
    let panicked = || Err(io::Error::other("the restart panicked"));
    let mut new = fork_lock::run(start).unwrap_or_else(panicked)?;
    // From here on a shutdown finds it there.
    STARTING.store(new.id(), Ordering::SeqCst);
    if is_ending() {
        new_process::terminate(new.id());
    }
    new.wait_until_it_serves(timeout)?;
    if is_ending() {
        new.kill();
        return Err(busy("a shutdown has begun meanwhile"));
    }
    Ok(new)
}

/// Whether this process may be replaced.
fn check() -> io::Result<()> {
    let unsupported = |text: &str| Err(io::Error::new(io::ErrorKind::Unsupported, text));
    if process::id() == 1 {
        return unsupported("process 1 cannot be replaced: its container ends with it");
    }
    if poll_thread::is_missing() {
        return unsupported("a process that a server has forked cannot be replaced");
    }
    if fork_lock::is_held() {
        return unsupported("a reload cannot restart a program with a server that forks");
    }
    if IS_REPLACED.load(Ordering::SeqCst) {
        return Err(busy("another process has replaced this one"));
    }
    if is_replacing() {
        return Err(busy("this process does not serve yet"));
    }
    if is_ending() {
        return Err(busy("this process shuts down, or has no server"));
    }
    Ok(())
}

fn busy(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

/// Whether another process has the sockets of this one too.
pub(crate) fn shares_sockets() -> bool {
    IS_REPLACED.load(Ordering::SeqCst) || IS_STARTING.load(Ordering::SeqCst) || is_replacing()
}

/// Whether this process is to replace another one, and does not serve yet.
fn is_replacing() -> bool {
    !HAS_SERVED.load(Ordering::SeqCst) && inherited::replaces_another()
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
pub(super) fn start_folder() -> Option<&'static Path> {
    let folder = START_FOLDER.get_or_init(|| std::env::current_dir().ok());
    folder.as_deref()
}

/// A signal shuts the servers down: a process that starts is not needed any more.
pub(crate) fn cancel() {
    IS_CANCELLED.store(true, Ordering::SeqCst);
    end_new_process();
}

/// The first server of a program, or the first after all others were closed.
pub(super) fn first_server() {
    IS_CANCELLED.store(false, Ordering::SeqCst);
}

pub(super) fn end_new_process() {
    match STARTING.load(Ordering::SeqCst) {
        0 => {}
        id => new_process::terminate(id),
    }
}

/// A server of this process begins to serve.
pub(crate) fn serves() {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        if let Some(predecessor) = inherited::ready() {
            announce(&predecessor);
        }
        pid_file::write_all();
        HAS_SERVED.store(true, Ordering::SeqCst);
    });
}

/// Says to the process before that this one serves, and waits until it accepts no more clients.
fn announce(mut predecessor: &UnixStream) {
    for name in inherited::names() {
        let name = listening::describe(&name);
        log_line!(target: "socketserver::server", Warn, "{name}: no server of this process has taken this socket of the process before; its clients wait");
    }
    if let Err(error) = predecessor.write_all(b"1") {
        log_line!(target: "socketserver::server", Warn, "the process before has ended already: {error}");
        return;
    }
    // By then it has sent `MAINPID=` to systemd, which accepts messages of the main process only.
    let _ = predecessor.set_read_timeout(Some(TIME_TO_HAND_OVER));
    let interrupted = |read: &io::Result<usize>| {
        read.as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
    };
    while interrupted(&predecessor.read(&mut [0])) {}
}
