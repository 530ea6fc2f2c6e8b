//! The access log: a file or the standard output, with a line for each request that was answered.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::log_entry::{Entry, Format};

/// How often the file is looked for at its path.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often a failure is reported: a full disk must not fill another log.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

pub struct AccessLog {
    format: Format,
    output: Mutex<Output>,
}

impl AccessLog {
    /// `-` is the standard output. The file is created, or appended to.
    pub fn open(path: &Path, format: Format) -> io::Result<Self> {
        let output = Mutex::new(Output::open(path)?);
        Ok(AccessLog { format, output })
    }

    /// Writes a line with one system call. A line that cannot be written is lost, and the request is not
    /// affected.
    pub fn write(&self, entry: &Entry<'_>) {
        let line = entry.line(self.format);
        let output = self.output.lock();
        output
            .unwrap_or_else(PoisonError::into_inner)
            .write_line(line.as_bytes());
    }
}

struct Output {
    /// `None` for the standard output.
    path: Option<PathBuf>,
    file: File,
    /// When the file was last looked for at its path.
    checked: Instant,
    /// The last line was written only in part.
    is_torn: bool,
    lost: u64,
    /// When a failure was last reported.
    reported: Option<Instant>,
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let path = (path != Path::new("-")).then(|| path.to_owned());
        let file = match &path {
            Some(path) => open(path)?,
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        Ok(Output {
            path,
            file,
            checked: Instant::now(),
            is_torn: false,
            lost: 0,
            reported: None,
        })
    }

    fn write_line(&mut self, line: &[u8]) {
        if self.checked.elapsed() >= CHECK_INTERVAL {
            self.follow();
        }
        if let Err(error) = self.try_write_line(line) {
            self.lost += 1;
            let lost = self.lost;
            self.report(format_args!("{error}; {lost} lines were lost so far"));
        }
    }

    fn try_write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.is_torn = !rest.is_empty();
        }
        Ok(())
    }

    /// Opens the file anew if there is another or none at its path, because it was renamed. Python's
    /// `WatchedFileHandler` does the same.
    fn follow(&mut self) {
        self.checked = Instant::now();
        let Some(path) = &self.path else { return };
        if is_same(&self.file, path) {
            return;
        }
        match open(path) {
            Ok(file) => (self.file, self.is_torn) = (file, false),
            // The lines still go to the old file.
            Err(error) => self.report(format_args!("{error}")),
        }
    }

    fn report(&mut self, what: fmt::Arguments<'_>) {
        if self
            .reported
            .is_none_or(|last| last.elapsed() >= REPORT_INTERVAL)
        {
            self.reported = Some(Instant::now());
            log::error!("access log: {what}");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|e| {
        let message = format!("cannot write to {}: {e}", path.display());
        io::Error::new(e.kind(), message)
    })
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(there)) => (file.dev(), file.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
