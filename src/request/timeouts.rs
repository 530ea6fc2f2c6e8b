use std::io;
use std::time::Duration;

use super::StreamRequest;
use crate::options::check_time;

/// Time limits of one connection.
impl StreamRequest {
    /// Sets the read timeout and the write timeout. Python's `request.settimeout`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    #[doc(alias = "settimeout")]
    pub fn set_timeout(&self, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
        let timeout = timeout.into();
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    /// Sets how long one read may block before it fails with `TimedOut`. `None`, the default, is no
    /// limit. In [`wait_for_data`](Self::wait_for_data) an idle timeout replaces it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_read_timeout(&self, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
        self.conn.transport.set_read_timeout(timeout.into())
    }

    /// Sets how long one write may take before it fails with `TimedOut`, with the time that it waits for
    /// other threads that send. `None`, the default, is no limit.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero.
    pub fn set_write_timeout(&self, timeout: impl Into<Option<Duration>>) -> io::Result<()> {
        self.conn.transport.set_write_timeout(timeout.into())
    }

    /// How long one read may block; `None` is no limit.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        self.conn.transport.read_timeout()
    }

    /// How long one write may block; `None` is no limit.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        self.conn.transport.write_timeout()
    }

    /// Sets how long the connection may last from now, in any state; `None` is no limit. Replaces the
    /// builder's [`max_lifetime`](crate::Builder::max_lifetime), and ends the connection in the same way.
    /// Called for each message, it limits the time of one message.
    ///
    /// Does nothing on a detached connection.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a duration of zero; the thread for timers cannot be started.
    #[doc(alias = "deadline")]
    pub fn set_max_lifetime(&mut self, lifetime: impl Into<Option<Duration>>) -> io::Result<()> {
        let lifetime = lifetime.into();
        check_time("max_lifetime", lifetime)?;
        if self.conn.state.is_servers() {
            self.timer = self.conn.begin(lifetime)?;
        }
        Ok(())
    }
}
