//! Where messages go: a folder with a file for each, or the standard output.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub enum Mailbox {
    Folder(PathBuf),
    Output,
}

impl Mailbox {
    /// # Errors
    ///
    /// The folder does not exist, or nothing can be written there.
    pub fn new(folder: Option<PathBuf>) -> io::Result<Self> {
        let Some(folder) = folder else {
            return Ok(Mailbox::Output);
        };
        temporary(&folder).map_err(|error| {
            let text = format!("cannot write to {}: {error}", folder.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(Mailbox::Folder(folder))
    }

    /// The message is on the disk when this returns: after the reply the client deletes its own copy.
    pub fn deliver(&self, id: &str, header: &str, message: &[u8]) -> io::Result<()> {
        match self {
            Mailbox::Folder(folder) => write(folder, id, header, message),
            Mailbox::Output => print(header, message),
        }
    }
}

/// A name for a new message.
pub fn new_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_micros();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{now}-{}-{number}", process::id())
}

/// A hidden file, which only this user can read. It is deleted when the value is dropped.
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".incoming-")
        .tempfile_in(folder)
}

/// A program that looks for messages in the folder sees whole ones only.
fn write(folder: &Path, id: &str, header: &str, message: &[u8]) -> io::Result<()> {
    let mut file = temporary(folder)?;
    file.write_all(header.as_bytes())?;
    file.write_all(message)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(folder.join(format!("{id}.eml")))?;
    File::open(folder)?.sync_all()
}

/// As Python's `smtpd.DebuggingServer`. What a terminal could take for a command is printed as an escape.
fn print(header: &str, message: &[u8]) -> io::Result<()> {
    let message = String::from_utf8_lossy(message);
    let mut text = "---------- MESSAGE FOLLOWS ----------\n".to_owned();
    for line in header.lines().chain(message.lines()) {
        // Quotes are shown as they are: each of them has a backslash of its own here.
        let escaped = line.replace('\t', "    ").escape_debug().to_string();
        text += &escaped.replace("\\'", "'").replace("\\\"", "\"");
        text.push('\n');
    }
    text += "------------ END MESSAGE ------------\n";
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
