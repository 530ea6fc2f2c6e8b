use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Socket, Type};

use super::socket::{cannot_listen_unix, context};
use crate::Address;
use crate::log_line::log_line;

/// The path of a Unix socket that this server has bound. Dropping it removes the file if it is still
/// the same socket.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    /// The path of the socket while the server does not listen.
    closed_path: PathBuf,
    identity: (u64, u64),
    kind: Type,
}

impl SocketPath {
    /// Binds `socket`. Returns `None` for an abstract name, which has no file to remove.
    ///
    /// A file at the path is replaced only if it is a stale socket: no program listens on it, because
    /// its server was killed.
    pub(super) fn bind(socket: &Socket, address: &Address, kind: Type) -> io::Result<Option<Self>> {
        let raw = address.to_sock_addr()?;
        let mut bound = socket.bind(&raw);
        if let (Err(error), Some(path)) = (&bound, address.path()) {
            if error.kind() == io::ErrorKind::AddrInUse {
                remove_stale(path, address, kind)?;
                bound = socket.bind(&raw);
            }
        }
        bound.map_err(|e| cannot_listen_unix(e, address))?;
        address.path().map(|path| Self::own(path, kind)).transpose()
    }

    fn own(path: &Path, kind: Type) -> io::Result<Self> {
        // Absolute: the working directory may change before the file is removed.
        let path = std::path::absolute(path)?;
        let mut closed_path = path.clone().into_os_string();
        closed_path.push(".closed");
        Ok(SocketPath {
            identity: identity(&path)?,
            closed_path: closed_path.into(),
            path,
            kind,
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
        if matches!(&linked, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            remove_stale(to, &Address::Path(to.to_owned()), self.kind)?;
            linked = fs::hard_link(from, to);
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
        for path in [&self.path, &self.closed_path] {
            if let Err(error) = self.remove(path) {
                log_line!(target: "socketserver::listener", Warn, "{error}");
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Removes the file at `path` if it is a socket on which no program listens.
fn remove_stale(path: &Path, address: &Address, kind: Type) -> io::Result<()> {
    let in_use = |why: &str| {
        io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("cannot listen on {address}: {why}"),
        )
    };
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
    // Non-blocking: with a full backlog connect would block, although a program listens.
    let probe = Socket::new(socket2::Domain::UNIX, kind, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&address.to_sock_addr()?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            log_line!(target: "socketserver::listener", Info, "replacing the stale socket {address}: no program listens on it");
            fs::remove_file(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(in_use(
            "another program listens there; stop it, or choose another path",
        )),
    }
}
