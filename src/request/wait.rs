//! How a connection waits. A thread blocks in a call of the system. A task tries first, and is suspended if
//! it has to wait.
//!
//! What a message passes here is inlined, and what it seldom needs is not: then the frames on its task's stack are
//! few and small, and a switch between tasks has little to load from memory.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::buffer::Space;
use super::conn::deadline;
use super::transport::Transport;
use crate::green::{self, CurrentTask, Interest};
use crate::sys::stream;
use crate::task::blocking;
use crate::tls::Session;

/// Where tasks wait for the socket: once for each worker of which a task has waited. Usually that is one. A handler
/// that sends to another's connection may be on another worker.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    first: OnceLock<green::Registration>,
    others: OnceLock<Box<Registrations>>,
}

impl Registrations {
    /// The socket is closed after this.
    fn before_close(&self, socket: &Transport) {
        if let Some(first) = self.first.get() {
            first.before_close(socket);
        }
        if let Some(others) = self.others.get() {
            others.before_close(socket);
        }
    }

    /// That of the calling task's worker.
    fn here(&self) -> Option<&green::Registration> {
        let first = self.first.get()?;
        if first.is_here() {
            return Some(first);
        }
        self.others.get()?.here()
    }

    #[cold]
    #[inline(never)]
    fn add(&self, registration: green::Registration) -> &green::Registration {
        let mut added = Some(registration);
        let first = self
            .first
            .get_or_init(|| added.take().expect("it is added once"));
        match added {
            None => first,
            Some(registration) => self.others.get_or_init(Box::default).add(registration),
        }
    }
}

impl Transport {
    /// Waits until the socket is readable or writable, after a call that has found it not ready. May return early.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the deadline, and at once if the program has set the socket non-blocking.
    pub(super) fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        if let Some(task) = green::current() {
            return self.wait_as_task(task, interest, deadline);
        }
        if self.is_nonblocking() || !stream::wait(self, poll_events(interest), deadline)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }

    /// Sends what there is space for. Waits until there is some, at most for the write timeout.
    pub(crate) fn write(&self, data: &[u8]) -> io::Result<usize> {
        let mut until = None;
        loop {
            match self.try_write(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let timeout = || deadline(self.write_timeout().ok().flatten());
                    self.wait(Interest::Write, *until.get_or_insert_with(timeout))?;
                }
                sent => {
                    green::spend_budget(*sent.as_ref().unwrap_or(&0));
                    return sent;
                }
            }
        }
    }

    /// Receives from a session through `receive`, with whether there may be more in a socket that was empty.
    pub(super) fn try_encrypted(
        &self,
        session: &Session,
        receive: impl FnOnce(bool) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if green::current().is_none() {
            // A wait of a thread returns at once if there is more.
            return receive(self.is_nonblocking());
        }
        let registration = self.registrations.here();
        // A Unix socket also ends a read where a descriptor was passed.
        let may_have_more = self.is_unix()
            || self.is_nonblocking()
            || registration.is_none_or(green::Registration::may_read);
        let received = receive(may_have_more);
        if let Some(registration) = registration.filter(|_| session.is_drained()) {
            registration.set_drained();
        }
        received
    }

    /// Waits for the result of a connect that has begun.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the deadline; why it could not be connected.
    pub(crate) fn wait_until_connected(&self, deadline: Option<Instant>) -> io::Result<()> {
        while SockRef::from(self).peer_addr().is_err() {
            self.wait(Interest::Write, deadline)?;
            if let Some(error) = SockRef::from(self).take_error()? {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits until something arrives, at most for the read timeout, and receives it. Returns 0 at the end of
    /// the stream.
    #[inline(always)]
    pub(crate) fn read(&self, buffer: &mut impl Space) -> io::Result<usize> {
        if let Some(task) = green::current() {
            return self.read_as_task(task, buffer);
        }
        self.blocking_read(buffer.space())
    }

    /// Waits until something arrives, at most for the read timeout, and leaves it in the socket. Returns 0 at
    /// the end of the stream.
    pub(super) fn wait_and_peek(&self) -> io::Result<usize> {
        if let Some(task) = green::current() {
            return self.peek_as_task(task);
        }
        self.peek(0)
    }

    /// Waits until something arrives on a socket whose reading side is shut down, and receives it through
    /// `receive`. Returns 0 when the client has ended the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the timeout.
    pub(super) fn wait_after_shutdown(
        &self,
        timeout: Option<Duration>,
        receive: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(task) = green::current() {
            return self.receive_after_shutdown_as_task(task, timeout, receive);
        }
        stream::receive_after_shutdown(self, timeout, receive)
    }
}

/// Before the socket is closed.
impl Drop for Transport {
    fn drop(&mut self) {
        self.registrations.before_close(self);
    }
}

/// On a task.
impl Transport {
    fn receive_after_shutdown_as_task(
        &self,
        task: CurrentTask,
        timeout: Option<Duration>,
        mut receive: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let deadline = deadline(timeout);
        loop {
            // Before the read: what arrives with the end is read first.
            let has_ended = stream::client_has_ended(self);
            match receive() {
                Ok(0) if !has_ended => {}
                received => return received,
            }
            self.suspend(task, Interest::NextEvent, deadline)?;
        }
    }

    /// Suspends the task until an event of the socket, which a call has found not ready.
    ///
    /// # Errors
    ///
    /// `WouldBlock` after the deadline.
    #[inline(always)]
    fn suspend(
        &self,
        task: CurrentTask,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let had_event = match self.registration(task) {
            Ok(registration) => {
                if interest == Interest::Read {
                    // No event can have come since: they come while no task runs.
                    registration.set_empty();
                }
                registration.wait(interest, deadline)
            }
            // A task of this worker is in `wait_readable` with the same descriptor.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.wait_elsewhere(task, interest, deadline)?
            }
            Err(error) => return Err(error),
        };
        if had_event {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[inline(always)]
    fn registration(&self, task: CurrentTask) -> io::Result<&green::Registration> {
        match self.registrations.here() {
            Some(registration) => Ok(registration),
            None => Ok(self
                .registrations
                .add(green::Registration::new(task, self)?)),
        }
    }

    /// Waits on a helper thread.
    #[cold]
    #[inline(never)]
    fn wait_elsewhere(
        &self,
        task: CurrentTask,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        const PAUSE: Duration = Duration::from_millis(10);
        let socket = self.as_fd();
        if interest != Interest::NextEvent {
            return blocking(|| stream::wait(&socket, poll_events(interest), deadline));
        }
        let next = Instant::now() + PAUSE;
        task.sleep(Some(deadline.map_or(next, |at| at.min(next))));
        Ok(deadline.is_none_or(|at| Instant::now() < at))
    }

    #[inline(always)]
    fn read_as_task(&self, task: CurrentTask, buffer: &mut impl Space) -> io::Result<usize> {
        let mut until = None;
        loop {
            let registration = self.registrations.here();
            if registration.is_none_or(green::Registration::may_read) || self.is_nonblocking() {
                let space = buffer.space();
                match self.try_read(space) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => {
                        let is_short = received.as_ref().is_ok_and(|n| *n < space.len());
                        // A Unix socket also ends a read where a descriptor was passed.
                        if let Some(registration) =
                            registration.filter(|_| is_short && !self.is_unix())
                        {
                            registration.set_drained();
                        }
                        // Not before: an event may come meanwhile.
                        green::spend_budget(*received.as_ref().unwrap_or(&0));
                        return received;
                    }
                }
            }
            let deadline = *until.get_or_insert_with(|| self.read_deadline());
            buffer.give_back();
            self.wait_as_task(task, Interest::Read, deadline)?;
        }
    }

    fn read_deadline(&self) -> Option<Instant> {
        deadline(self.read_timeout().ok().flatten())
    }

    fn peek_as_task(&self, task: CurrentTask) -> io::Result<usize> {
        let mut until = None;
        loop {
            match self.peek(crate::sys::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return peeked,
            }
            let deadline = *until.get_or_insert_with(|| self.read_deadline());
            self.wait_as_task(task, Interest::Read, deadline)?;
        }
    }

    /// As [`wait`](Self::wait).
    #[inline(always)]
    fn wait_as_task(
        &self,
        task: CurrentTask,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        if self.is_nonblocking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.suspend(task, interest, deadline)
    }
}

fn poll_events(interest: Interest) -> libc::c_short {
    match interest {
        Interest::Read | Interest::NextEvent => libc::POLLIN,
        Interest::Write => libc::POLLOUT,
    }
}
