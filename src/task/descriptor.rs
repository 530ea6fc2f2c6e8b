use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::blocking;
use crate::green::{self, CurrentTask, Interest, Registration};
use crate::sys::stream;

/// Waits until the descriptor is readable, has ended or has failed: another library's socket, a pipe, a timer.
/// Returns false after the timeout; `None` is no limit. Nothing is read.
///
/// A later read can still block if somebody else reads first: use a descriptor that is non-blocking. If two tasks of a
/// worker wait for the same descriptor, the second one takes a helper thread of [`blocking`]. For the request's own
/// socket use [`wait_for_data`](crate::StreamRequest::wait_for_data): this function does not
/// know what is buffered.
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
///
/// use socketserver::task;
///
/// # fn main() -> std::io::Result<()> {
/// let (mut ours, theirs) = UnixStream::pair()?;
/// assert!(!task::wait_readable(&theirs, Duration::from_millis(1))?);
/// ours.write_all(b"hello")?;
/// assert!(task::wait_readable(&theirs, None)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The system cannot watch the descriptor.
#[doc(alias("poll", "select"))]
pub fn wait_readable(
    descriptor: impl AsFd,
    timeout: impl Into<Option<Duration>>,
) -> io::Result<bool> {
    let timeout = timeout.into();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    match green::current() {
        Some(task) => suspend(task, &descriptor, deadline),
        None => stream::wait(&descriptor, libc::POLLIN, deadline),
    }
}

fn suspend(
    task: CurrentTask,
    descriptor: &impl AsFd,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let is_readable = || stream::wait(descriptor, libc::POLLIN, Some(Instant::now()));
    if is_readable()? {
        green::spend_budget(0);
        return Ok(true);
    }
    let registration = match Registration::new(task, descriptor) {
        // Another task of this worker waits for it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let descriptor = descriptor.as_fd();
            return blocking(|| stream::wait(&descriptor, libc::POLLIN, deadline));
        }
        registered => registered?,
    };
    loop {
        // It may return early, and an event may have been for something else.
        let had_event = registration.wait(Interest::NextEvent, deadline);
        let is_readable = is_readable();
        if !had_event || !matches!(is_readable, Ok(false)) {
            registration.delete(descriptor);
            return is_readable;
        }
    }
}
