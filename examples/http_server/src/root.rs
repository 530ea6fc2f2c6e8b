use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use nix::fcntl::OFlag;

use super::document::Document;

/// The directory that is served. Every file is opened below it: a link that leads out fails, even if
/// it was created a moment ago.
pub struct Root(Dir);

/// What a path leads to.
pub enum Node {
    File(Document),
    Folder(Dir),
}

impl Root {
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_readable(path).map_err(|e| {
            let message = format!("cannot serve {}: {e}", path.display());
            io::Error::new(e.kind(), message)
        })
    }

    fn open_readable(path: &Path) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        // Permission to open a directory does not include reading it.
        dir.entries()?;
        Ok(Root(dir))
    }

    /// Opens a file or a folder; anything else, such as a pipe, is not found.
    pub fn node(&self, path: &Path) -> io::Result<Node> {
        let mut options = OpenOptions::new();
        // Without it, opening a pipe blocks until another process opens it for writing.
        options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = self.0.open_with(path, &options)?.into_std();
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            Ok(Node::Folder(Dir::from_std_file(file)))
        } else if metadata.is_file() {
            Document::new(path, file, &metadata).map(Node::File)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// The metadata of a file or folder, without opening it.
    pub fn metadata(&self, path: &Path) -> io::Result<cap_std::fs::Metadata> {
        self.0.metadata(path)
    }
}
