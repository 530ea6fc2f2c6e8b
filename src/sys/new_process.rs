//! Starting this program once more, with sockets.

use std::env;
use std::ffi::{OsStr, OsString, c_char};
use std::io;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};
use std::ptr;
use std::time::{Duration, Instant};

use super::inherited::{FIRST, READY};
use super::stream;

/// A process that starts.
pub(crate) struct NewProcess {
    child: Child,
    /// It sends a byte when it serves.
    ready: UnixStream,
}

impl NewProcess {
    /// Starts the program from its first argument, in the folder `directory`, with these sockets and their names.
    pub(crate) fn start(
        directory: Option<&Path>,
        sockets: &[(String, OwnedFd)],
    ) -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let program = program(&name, directory);
        let (ready, send_ready) = UnixStream::pair()?;
        let sources = sockets.iter().map(|(_, socket)| socket.as_raw_fd());
        let sources: Vec<_> = sources.chain([send_ready.as_raw_fd()]).collect();
        let descriptors = Descriptors::above(&sources)?;
        let mut environment = Environment::with(sockets.iter().map(|(name, _)| &**name));
        let mut command = Command::new(&program);
        command.arg0(name).args(arguments);
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        // SAFETY: the closure makes system calls and writes to memory that it owns. It neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                descriptors.place()?;
                environment.set();
                Ok(())
            })
        };
        let child = command.spawn().map_err(|error| {
            let is_gone = |directory: &&Path| !directory.is_dir();
            let folder = directory
                .filter(is_gone)
                .map(|folder| format!("; its folder {} is missing", folder.display()));
            let folder = folder.unwrap_or_default();
            let text = format!("cannot start {} again: {error}{folder}", program.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok(NewProcess { child, ready })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Blocks until it serves.
    ///
    /// # Errors
    ///
    /// It has ended, or does not serve within `timeout`. Then it is killed.
    pub(crate) fn wait_until_it_serves(&mut self, timeout: Duration) -> io::Result<()> {
        let begin = Instant::now();
        let waited = self.wait(begin.checked_add(timeout));
        if waited.is_err() {
            self.kill();
        }
        waited
    }

    /// It has accepted no client yet: it waits for [`begin`](Self::begin).
    pub(crate) fn kill(&mut self) {
        // It may have ended, and nobody else waits for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The new process goes on.
    pub(crate) fn begin(&self) {
        // Not by closing the socket: a child that a server has forked meanwhile has a copy.
        let _ = self.ready.shutdown(Shutdown::Both);
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        /// A program that it has started may have its end of the socket, too.
        const LONGEST_PAUSE: Duration = Duration::from_millis(100);
        let begin = Instant::now();
        loop {
            let pause = Some(Instant::now() + LONGEST_PAUSE);
            stream::wait(&self.ready, libc::POLLIN, pause.min(deadline.or(pause)))?;
            let id = self.id();
            // Also after it has said that it serves.
            if let Some(status) = self.child.try_wait()? {
                let text = format!("the new process {id} ended before it served: {status}");
                return Err(io::Error::other(text));
            }
            if self.has_served()? {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let waited = begin.elapsed().as_secs_f64();
                let text = format!("the new process {id} did not serve within {waited:.1} s");
                return Err(io::Error::other(text));
            }
        }
    }

    fn has_served(&self) -> io::Result<bool> {
        match stream::try_receive(&self.ready, &mut [0]) {
            Ok(0) => {
                // Its end is closed. It ends soon, or does not serve.
                std::thread::sleep(Duration::from_millis(5));
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Ends a process that starts. Does nothing if it has ended.
pub(crate) fn terminate(id: u32) {
    if let Ok(id) = libc::pid_t::try_from(id) {
        // SAFETY: it sends a signal.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
}

/// A relative path is relative to the folder that the program was started in. A name without a folder is searched in
/// `PATH`.
fn program(name: &OsStr, directory: Option<&Path>) -> PathBuf {
    let path = Path::new(name);
    match directory {
        Some(directory) if path.components().count() > 1 => directory.join(path),
        _ => path.to_owned(),
    }
}

/// Descriptors that become 3, 4, 5 … in the new process.
struct Descriptors {
    copies: Vec<OwnedFd>,
    /// They occupy these numbers until then: otherwise the standard library might open a descriptor of its own there.
    _placeholders: Vec<OwnedFd>,
}

impl Descriptors {
    /// Copies of these, above the numbers that they get.
    fn above(sources: &[RawFd]) -> io::Result<Self> {
        let lowest = FIRST + sources.len() as RawFd;
        let (mut copies, mut placeholders) = (Vec::new(), Vec::new());
        for source in sources {
            let mut copy = duplicate(*source)?;
            while copy.as_raw_fd() < lowest {
                placeholders.push(mem::replace(&mut copy, duplicate(*source)?));
            }
            copies.push(copy);
        }
        Ok(Descriptors {
            copies,
            _placeholders: placeholders,
        })
    }

    /// In the new process.
    fn place(&self) -> io::Result<()> {
        for (copy, number) in self.copies.iter().zip(FIRST..) {
            // SAFETY: `copy` is open, and this process does not use what has the number.
            if unsafe { libc::dup2(copy.as_raw_fd(), number) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// A copy, which programs that this one starts do not get. Fails if the descriptor is not open.
pub(crate) fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it fails if the descriptor is not open.
    match unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, FIRST) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: it is new.
        copy => Ok(unsafe { OwnedFd::from_raw_fd(copy) }),
    }
}

/// The variables of the new process. Some contain its own number, which is not known before it exists.
struct Environment {
    /// Each ends with a zero byte.
    variables: Vec<Vec<u8>>,
    /// The first ones, which end with that number.
    with_number: usize,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point to memory that it owns.
unsafe impl Send for Environment {}
// SAFETY: as above; it is changed through `&mut` only.
unsafe impl Sync for Environment {}

impl Environment {
    const REPLACED: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", READY];
    /// More than a process number has, and the zero byte.
    const DIGITS: usize = 12;

    fn with<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let count = names.len();
        let names: Vec<_> = names.collect();
        let mut variables = vec![with_number("LISTEN_PID")];
        // systemd's watchdog is for this process, and then for the new one.
        if env::var("WATCHDOG_PID").is_ok_and(|id| id == process::id().to_string()) {
            variables.push(with_number("WATCHDOG_PID"));
        }
        let with_number = variables.len();
        variables.push(variable("LISTEN_FDS", count.to_string()));
        variables.push(variable("LISTEN_FDNAMES", names.join(":")));
        variables.push(variable(READY, (FIRST as usize + count).to_string()));
        let is_new = |name: &OsString| {
            let is_same = |variable: &Vec<u8>| variable.starts_with(&prefix(name));
            !Self::REPLACED.iter().any(|replaced| name == replaced)
                && !variables[..with_number].iter().any(is_same)
        };
        let kept = env::vars_os().filter(|(name, _)| is_new(name));
        let kept: Vec<_> = kept.map(|(name, value)| variable(name, value)).collect();
        variables.extend(kept);
        let pointers = variables.iter().map(|variable| variable.as_ptr().cast());
        let pointers = pointers.chain([ptr::null()]).collect();
        Environment {
            variables,
            with_number,
            pointers,
        }
    }

    /// In the new process, before the program starts.
    fn set(&mut self) {
        for variable in &mut self.variables[..self.with_number] {
            let begin = variable.len() - Self::DIGITS;
            write_number(&mut variable[begin..], process::id());
        }
        // SAFETY: no other thread is in this process. The variables live until the program starts.
        unsafe { environ = self.pointers.as_ptr() };
    }
}

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

fn prefix(name: impl AsRef<OsStr>) -> Vec<u8> {
    [name.as_ref().as_bytes(), b"="].concat()
}

fn variable(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Vec<u8> {
    [&*prefix(name), value.as_ref().as_bytes(), b"\0"].concat()
}

fn with_number(name: &str) -> Vec<u8> {
    [&*prefix(name), &[0; Environment::DIGITS]].concat()
}

/// The rest of `digits` is zero bytes.
fn write_number(digits: &mut [u8], number: u32) {
    let length = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut left = number;
    for digit in digits[..length].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_without_zeroes_in_front() {
        for number in [1, 9, 10, 4711, u32::MAX] {
            let mut digits = [0; Environment::DIGITS];
            write_number(&mut digits, number);
            let text = String::from_utf8_lossy(&digits);
            assert_eq!(text.trim_end_matches('\0'), number.to_string());
        }
    }
}
