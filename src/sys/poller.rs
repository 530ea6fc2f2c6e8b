use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::{signals, stream};
use crate::sync;

/// Where the accept loop waits: for a client, a notification or a deadline.
///
/// `None` once it is closed: handles of a closed server hold no descriptors.
pub(crate) struct Poller(sync::Mutex<Option<Arc<sync::Notifier>>>);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let notifier = sync::Notifier::new()?;
        Ok(Poller(sync::Mutex::new(Some(Arc::new(notifier)))))
    }

    /// Closes its descriptors as soon as no thread notifies. Nobody waits any more.
    pub(crate) fn close(&self) {
        self.0.lock().take();
    }

    /// Ends the current [`wait`](Self::wait), or the next one. Never blocks.
    pub(crate) fn notify(&self) {
        // Not locked meanwhile, and open until it returns.
        let notifier = self.0.lock().clone();
        if let Some(notifier) = notifier {
            notifier.notify();
        }
    }

    /// Waits until `listener` is readable (with `None` no descriptor is watched), somebody notifies, or
    /// the deadline has passed.
    pub(crate) fn wait(
        &self,
        listener: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        loop {
            match self.wait_or_interrupt(listener, deadline) {
                Err(error) if error.kind() == ErrorKind::Interrupted => signals::run_pending(),
                waited => return waited,
            }
        }
    }

    /// As [`wait`](Self::wait), but fails with `Interrupted` when a signal handler has run on this thread.
    pub(crate) fn wait_or_interrupt(
        &self,
        listener: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let notifier = self.0.lock().clone();
        let notifier = notifier.expect("only a server that is not closed waits");
        notifier.wait_or_interrupt(listener, deadline)
    }
}

/// Two connected sockets: a notification is a byte from one to the other. One call of poll(2) waits for it and
/// for a client, where epoll would have to register the listener before the wait and remove it afterwards.
pub(crate) struct Notifier {
    sender: UnixStream,
    receiver: UnixStream,
    /// A byte is on its way, or was received by a wait that is about to return.
    is_notified: AtomicBool,
}

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Notifier {
            sender,
            receiver,
            is_notified: AtomicBool::new(false),
        })
    }

    pub(crate) fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::SeqCst) {
            // Fails only if the buffer is full: then there is a byte already.
            let _ = (&self.sender).write(&[0]);
        }
    }

    pub(crate) fn wait_or_interrupt(
        &self,
        listener: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let watched = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // poll(2) ignores a negative descriptor.
        let listener = listener.map_or(-1, |listener| listener.as_raw_fd());
        let mut polled = [self.receiver.as_fd().as_raw_fd(), listener].map(watched);
        stream::poll_or_interrupt(&mut polled, deadline)?;
        if polled[1].revents & libc::POLLNVAL != 0 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        if polled[0].revents != 0 {
            self.clear();
        }
        Ok(())
    }

    /// The bytes are received first: a notification after that sends another one, and what a notification
    /// before that was about is seen after the wait. A forked process may have sent bytes too.
    fn clear(&self) {
        let _ = (&self.receiver).read(&mut [0; 16]);
        self.is_notified.swap(false, Ordering::SeqCst);
    }
}
