use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Socket, Type};

use super::socket::{cannot_listen, context};
use crate::Address;

/// A Unix socket's path while we own it: removed when dropped, if the socket there is still ours.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    /// Where the socket is while clients are refused.
    aside: PathBuf,
    identity: (u64, u64),
    kind: Type,
}

impl SocketPath {
    /// Binds `socket`. A path is returned for what has to be removed later: not for abstract names.
    ///
    /// What stands in the way is replaced only if it is a socket that nobody listens on any more,
    /// as a server that was killed leaves behind.
    pub(super) fn bind(socket: &Socket, address: &Address, kind: Type) -> io::Result<Option<Self>> {
        let raw = address.to_sock_addr()?;
        let mut bound = socket.bind(&raw);
        if let (Err(error), Some(path)) = (&bound, address.path()) {
            if error.kind() == io::ErrorKind::AddrInUse {
                remove_stale(path, address, kind)?;
                bound = socket.bind(&raw);
            }
        }
        bound.map_err(|e| cannot_listen(e, address))?;
        address.path().map(|path| Self::own(path, kind)).transpose()
    }

    fn own(path: &Path, kind: Type) -> io::Result<Self> {
        // Absolute, so that a change of the working directory does not lead us to somebody else's
        // file.
        let path = std::path::absolute(path)?;
        let mut aside = path.clone().into_os_string();
        aside.push(".suspended");
        Ok(SocketPath {
            identity: identity(&path)?,
            aside: aside.into(),
            path,
            kind,
        })
    }

    /// Has clients find no socket, until it is moved back.
    pub(super) fn move_aside(&self) -> io::Result<()> {
        self.rename(&self.path, &self.aside)
    }

    pub(super) fn move_back(&self) -> io::Result<()> {
        self.rename(&self.aside, &self.path)
    }

    /// Replaces what [`bind`](Self::bind) would. May be tried again where it failed halfway.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.is_at(to) {
            self.link(from, to)?;
        }
        self.remove(from)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.is_at(from) {
            let message = format!("the socket at {} is not ours any more", from.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        // Unlike rename(2), a link never takes the place of what is there.
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
        identity(path).is_ok_and(|there| there == self.identity)
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        for path in [&self.path, &self.aside] {
            if let Err(error) = self.remove(path) {
                log::warn!(target: "socketserver::listener", "{error}");
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

fn remove_stale(path: &Path, address: &Address, kind: Type) -> io::Result<()> {
    let in_use = |why: &str| {
        io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("cannot listen on {address}: {why}"),
        )
    };
    match fs::symlink_metadata(path) {
        // Gone in the meantime.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(in_use(
                "there is a file of that name that is not a socket; choose another path",
            ));
        }
        _ => {}
    }
    // Without blocking: a server whose queue is full is alive too.
    let probe = Socket::new(socket2::Domain::UNIX, kind, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&address.to_sock_addr()?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!(target: "socketserver::listener", "replacing {address}, which nobody listens on any more");
            fs::remove_file(path)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(in_use(
            "another server listens there; stop it, or choose another path",
        )),
    }
}
