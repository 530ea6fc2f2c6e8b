use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use tempfile::TempPath;

/// The file to be written. Until it is complete it has another name, in the same folder.
pub struct Output {
    path: PathBuf,
    file: File,
    /// `None` for what no file can replace: `/dev/null`, a pipe.
    temporary: Option<TempPath>,
    /// Whether an existing file is overwritten.
    force: bool,
}

impl Output {
    /// Makes sure that the file can be written, and does not change it. Ctrl-C and SIGTERM remove the
    /// temporary file from here on. Fails if the file exists, unless `force` is set.
    pub fn create(path: &Path, force: bool) -> io::Result<Self> {
        let created = match (fs::metadata(path), path.is_symlink()) {
            (Ok(there), _) if !there.is_file() => Output::open(path),
            // It may be /dev/stdout, which is the file that a shell redirected our output to.
            (_, true) => Err(io::Error::other("it is a link; name the file itself")),
            (Ok(_), _) if !force => Err(exists()),
            _ => Output::create_beside(path, force),
        };
        created.map_err(|e| cannot_write(path, e))
    }

    /// Copies all of `body`, and gives the file its name.
    pub fn save(mut self, mut body: impl Read) -> io::Result<u64> {
        let copied = self.copy(&mut body)?;
        if let Some(temporary) = self.temporary {
            let renamed = if self.force {
                temporary.persist(&self.path)
            } else {
                temporary.persist_noclobber(&self.path)
            };
            renamed.map_err(|e| match e.error.kind() {
                io::ErrorKind::AlreadyExists => cannot_write(&self.path, exists()),
                _ => cannot_write(&self.path, e.error),
            })?;
        }
        Ok(copied)
    }

    fn open(path: &Path) -> io::Result<Self> {
        Ok(Output {
            path: path.to_owned(),
            file: File::options().write(true).open(path)?,
            temporary: None,
            force: false,
        })
    }

    fn create_beside(path: &Path, force: bool) -> io::Result<Self> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let temporary = tempfile::Builder::new()
            .prefix(".http_get-")
            .suffix(".part")
            // The umask applies, as for any new file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        let (file, temporary) = temporary.into_parts();
        remove_on_ctrlc(temporary.to_path_buf(), path.to_owned())?;
        Ok(Output {
            path: path.to_owned(),
            file,
            temporary: Some(temporary),
            force,
        })
    }

    fn copy(&mut self, body: &mut impl Read) -> io::Result<u64> {
        let mut copied = 0;
        let mut piece = vec![0; 65_536];
        loop {
            let received = body.read(&mut piece);
            let length = received.map_err(|e| not_written(&self.path, e))?;
            if length == 0 {
                return Ok(copied);
            }
            let written = self.file.write_all(&piece[..length]);
            written.map_err(|e| cannot_write(&self.path, e))?;
            copied += length as u64;
        }
    }
}

fn remove_on_ctrlc(temporary: PathBuf, path: PathBuf) -> io::Result<()> {
    let remove = move || {
        // It does not exist any more once the file is complete.
        if fs::remove_file(&temporary).is_ok() {
            eprintln!("http_get: interrupted, {} was not written", path.display());
        }
        process::exit(1);
    };
    ctrlc::set_handler(remove).map_err(io::Error::other)
}

fn exists() -> io::Error {
    let message = "it exists; --force overwrites it, --output names another file";
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}

fn cannot_write(path: &Path, error: io::Error) -> io::Error {
    let message = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), message)
}

fn not_written(path: &Path, error: io::Error) -> io::Error {
    let message = format!("{} was not written: {error}", path.display());
    io::Error::new(error.kind(), message)
}
