use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use parking_lot::Mutex;

use crate::log_line::log_line;
use crate::sys::inherited;

/// Those that are written when this process serves. `None` once it does so.
static WAITING: Mutex<Option<Vec<PathBuf>>> = Mutex::new(Some(Vec::new()));

/// A file with the number of the process that serves, for scripts that send it signals. Feature `restart`.
///
/// In a process that [replaces](crate::restart) another one it is written when the first server serves, otherwise at
/// once. During a restart the number stays that of the process that serves. Dropping it removes the file, unless another
/// process has written it since.
///
/// ```
/// use socketserver::restart::PidFile;
///
/// # fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("pid-file-{}", std::process::id()));
/// # std::fs::create_dir(&folder)?;
/// # let path = folder.join("server.pid");
/// let pid_file = PidFile::create(&path)?;
/// assert_eq!(std::fs::read_to_string(&path)?, format!("{}\n", std::process::id()));
/// drop(pid_file);
/// assert!(!path.exists());
/// # std::fs::remove_dir(&folder)
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the file is removed when this is dropped"]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file, in a process that replaces another one later: see [`PidFile`]. A file that is there is replaced.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the text names it. If it is written later, an error is logged.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        // The folder of the process may change before it is removed.
        let path = std::path::absolute(path)?;
        match &mut *WAITING.lock() {
            Some(waiting) if inherited::replaces_another() => waiting.push(path.clone()),
            _ => write(&path)?,
        }
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *WAITING.lock() {
            waiting.retain(|path| *path != self.0);
        }
        let own = text();
        if fs::read_to_string(&self.0).is_ok_and(|text| text == own) {
            // Somebody else has removed it, or may do so later.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// This process serves.
pub(super) fn write_all() {
    // Locked meanwhile: a file that is created now is written after these.
    let mut waiting = WAITING.lock();
    for path in waiting.take().into_iter().flatten() {
        if let Err(error) = write(&path) {
            log_line!(target: "socketserver::server", Error, "{error}");
        }
    }
}

/// A reader finds the old number or the new one, never a part of one.
fn write(path: &Path) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = fs::write(&new, text()).and_then(|()| fs::rename(&new, path));
    written.map_err(|error| {
        let text = format!("cannot write the PID file {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

fn text() -> String {
    format!("{}\n", process::id())
}
