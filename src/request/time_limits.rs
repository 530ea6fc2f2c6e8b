use std::io;
use std::time::Duration;

use super::StreamRequest;
use crate::options::check_time;

/// How long its reads and writes may block, and how long it may take.
impl StreamRequest {
    /// Sets both timeouts below. Python's `request.settimeout`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    #[doc(alias = "settimeout")]
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    /// Sets how long one read may block before it fails with `TimedOut`. `None`, the default, waits
    /// for ever. In [`wait_for_data`](Self::wait_for_data) an idle timeout holds in its place.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.link.transport.set_read_timeout(timeout)
    }

    /// Sets how long one write may block before it fails with `TimedOut`. `None`, the default,
    /// waits for ever.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.link.transport.set_write_timeout(timeout)
    }

    /// How long one read may block; `None` is for ever.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.link.transport.read_timeout()
    }

    /// How long one write may block; `None` is for ever.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.link.transport.write_timeout()
    }

    /// Sets how long the connection may go on from now, whatever it does; `None` is for ever. It
    /// replaces the [`deadline`](crate::Builder::max_lifetime) of the builder, and ends the connection
    /// in the same way. Set anew for each, it is a deadline for one of many requests on a
    /// connection.
    ///
    /// Does nothing on a detached connection, which has no deadline.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero; what keeps the timer's thread from being started.
    pub fn set_max_lifetime(&mut self, deadline: impl Into<Option<Duration>>) -> io::Result<()> {
        let deadline = deadline.into();
        check_time("deadline", deadline)?;
        match &mut self.listed {
            Some(listed) => listed.start_within(deadline),
            None => Ok(()),
        }
    }
}
