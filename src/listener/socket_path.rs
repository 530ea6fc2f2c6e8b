use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Socket, Type};

use super::socket::cannot_listen;
use crate::Address;

/// A Unix socket's path while we own it: removed when dropped, if the socket there is still ours.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    identity: (u64, u64),
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
        address.path().map(Self::own).transpose()
    }

    fn own(path: &Path) -> io::Result<Self> {
        // Absolute, so that a change of the working directory does not lead us to somebody else's
        // file.
        let path = std::path::absolute(path)?;
        let identity = identity(&path)?;
        Ok(SocketPath { path, identity })
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            if let Err(e) = fs::remove_file(&self.path) {
                log::warn!(target: "socketserver::listener", "cannot remove {}: {e}", self.path.display());
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
