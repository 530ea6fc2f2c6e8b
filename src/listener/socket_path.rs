use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::socket::{cannot_listen_unix, context};
use crate::error::SystemError;
use crate::log_line::log_line;
use crate::{Address, restart, sys};

/// The path of a Unix socket that this server has bound. Dropping it removes the file if it is still
/// the same socket.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    /// The path of the socket while the server does not listen.
    closed_path: PathBuf,
    identity: (u64, u64),
}

impl SocketPath {
    /// Binds `socket`. Returns `None` for an abstract name, which has no file to remove.
    ///
    /// A file at the path is replaced only if it is a stale socket: no program has it open, because its
    /// server was killed. Of several servers that bind the path at once, one succeeds.
    pub(super) fn bind(socket: &Socket, address: &Address) -> io::Result<Option<Self>> {
        let raw = address.to_sock_addr()?;
        let failed = |e| cannot_listen_unix(e, address);
        let Some(path) = address.path() else {
            return socket.bind(&raw).map(|()| None).map_err(failed);
        };
        let mut bound = socket.bind(&raw);
        match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let _lock = BindLock::acquire(path, BindLock::TIMEOUT)?;
                remove_stale(path, address, &error)?;
                bound = socket.bind(&raw);
            }
            _ => {}
        }
        bound.map_err(failed)?;
        Self::own(path).map(Some).map_err(failed)
    }

    /// The path of a socket that another process has bound. It leaves the path to this one.
    #[cfg(feature = "restart")]
    pub(super) fn take_over(address: &Address) -> io::Result<Option<Self>> {
        let failed = |e| cannot_listen_unix(e, address);
        address.path().map(Self::own).transpose().map_err(failed)
    }

    fn own(path: &Path) -> io::Result<Self> {
        // Absolute: the working directory may change before the file is removed.
        let path = std::path::absolute(path)?;
        Ok(SocketPath {
            identity: identity(&path)?,
            closed_path: with_suffix(&path, ".closed"),
            path,
        })
    }

    /// Renames the socket, so that clients find none at its path, until [`reopen`](Self::reopen).
    pub(super) fn close(&self) -> io::Result<()> {
        self.rename(&self.path, &self.closed_path)
    }

    pub(super) fn reopen(&self) -> io::Result<()> {
        self.rename(&self.closed_path, &self.path)
    }

    /// Replaces only a stale socket, as [`bind`](Self::bind) does. After an error it can be called
    /// again.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.is_at(to) {
            self.link(from, to)?;
        }
        self.remove(from)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.is_at(from) {
            let message = format!(
                "the socket at {} is no longer that of this server",
                from.display()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        // A link, because rename(2) would replace any file.
        let mut linked = fs::hard_link(from, to);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // The accept loop does not wait. It tries again later.
                let _lock = BindLock::acquire(to, Duration::ZERO)?;
                remove_stale(to, &Address::Path(to.to_owned()), &error)?;
                linked = fs::hard_link(from, to);
            }
            _ => {}
        }
        linked.map_err(|e| {
            context(
                e,
                format_args!("cannot link {} to {}", from.display(), to.display()),
            )
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.is_at(path) {
            return Ok(());
        }
        fs::remove_file(path)
            .map_err(|e| context(e, format_args!("cannot remove {}", path.display())))
    }

    fn is_at(&self, path: &Path) -> bool {
        identity(path).is_ok_and(|found| found == self.identity)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // It may be another process's now.
        if restart::shares_sockets() {
            return;
        }
        for path in [&self.path, &self.closed_path] {
            if let Err(error) = self.remove(path) {
                log_line!(target: "socketserver::listener", Warn, "{error}");
            }
        }
    }
}

/// The right to remove a stale socket. Without it, one server could take the new socket of another one for
/// a stale socket, and remove it.
///
/// It is a locked file beside the path, which is there only while a server replaces a stale socket. The
/// system releases the lock of a process that is killed, and the next such bind removes the file.
struct BindLock {
    path: PathBuf,
    /// Locked until it is closed.
    _file: File,
}

impl BindLock {
    /// A bind takes much less, unless its process is stopped.
    const TIMEOUT: Duration = Duration::from_secs(5);

    fn acquire(path: &Path, timeout: Duration) -> io::Result<Self> {
        let path = with_suffix(&std::path::absolute(path)?, ".bind-lock");
        let failed = |e| context(e, format_args!("cannot lock {}", path.display()));
        let give_up_at = Instant::now() + timeout;
        loop {
            let file = Self::open(&path).map_err(failed)?;
            let is_locked = sys::try_lock(&file).map_err(failed)?;
            // Another server may have removed the file after it was opened.
            if is_locked && identity(&path).is_ok_and(|found| Self::is(&file, found)) {
                return Ok(BindLock { path, _file: file });
            }
            if Instant::now() >= give_up_at {
                let text = format!("another program has locked {}", path.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            if !is_locked {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Opens only an empty file, because the file is removed later.
    fn open(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        // Neither follows a symbolic link nor waits for the reader of a pipe.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(path)?;
        let found = file.metadata()?;
        if found.is_file() && found.len() == 0 {
            return Ok(file);
        }
        let text = "it is not an empty file";
        Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
    }

    fn is(file: &File, found: (u64, u64)) -> bool {
        file.metadata()
            .is_ok_and(|file| (file.dev(), file.ino()) == found)
    }
}

impl Drop for BindLock {
    fn drop(&mut self) {
        // If this fails, the next bind removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Removes the file at `path` if it is a socket that no program has open. Only the holder of the
/// [`BindLock`] may call it. `error` is that of the bind.
fn remove_stale(path: &Path, address: &Address, error: &io::Error) -> io::Result<()> {
    let in_use = |why: &str| {
        let text = format!("cannot listen on {address}: {why}");
        SystemError::new(error, text).with_kind(io::ErrorKind::AddrInUse)
    };
    let failed = |e| cannot_listen_unix(e, address);
    match fs::symlink_metadata(path) {
        // Removed by another process after the failed bind.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(in_use(
                "the file at that path is not a socket; choose another path",
            ));
        }
        _ => {}
    }
    // A datagram socket, because its connect finds a stream socket that does not listen yet, too: it fails
    // with EPROTOTYPE. Nothing arrives at that socket.
    let probe = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(failed)?;
    match probe.connect(&address.to_sock_addr()?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            log_line!(target: "socketserver::listener", Info, "replacing the stale socket {address}: no program has it open");
            fs::remove_file(path).map_err(failed)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(in_use(
            "another program listens there; stop it, or choose another path",
        )),
    }
}
