use std::io;
use std::time::{Duration, Instant};

use super::{AuthError, Duplex};

/// Runs a handshake that must be done within `limit`. Afterwards the stream has the timeouts that
/// it had before.
pub(super) fn within<D: Duplex + ?Sized, T>(
    stream: &mut D,
    limit: Duration,
    handshake: impl FnOnce(&mut Timed<'_, D>) -> Result<T, AuthError>,
) -> Result<T, AuthError> {
    let before = (stream.read_timeout()?, stream.write_timeout()?);
    let done = handshake(&mut Timed {
        stream,
        limit,
        end: Instant::now().checked_add(limit),
    });
    let restored = stream
        .set_read_timeout(before.0)
        .and_then(|()| stream.set_write_timeout(before.1));
    let value = done?;
    restored?;
    Ok(value)
}

/// A stream inside a handshake. Before each read and write it is told how much time is left, so
/// that a peer that keeps sending single bytes gains nothing.
pub(super) struct Timed<'a, D: ?Sized> {
    stream: &'a mut D,
    limit: Duration,
    /// `None` for a limit beyond what the clock can count.
    end: Option<Instant>,
}

impl<D: Duplex + ?Sized> Timed<'_, D> {
    pub(super) fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), AuthError> {
        let mut received = 0;
        while received < buffer.len() {
            self.stream.set_read_timeout(self.left()?)?;
            match self.stream.reader().read(&mut buffer[received..]) {
                Ok(0) => {
                    let missing = buffer.len() - received;
                    return Err(AuthError::Truncated { missing });
                }
                Ok(n) => received += n,
                Err(error) => self.retry(error)?,
            }
        }
        Ok(())
    }

    pub(super) fn write_all(&mut self, mut data: &[u8]) -> Result<(), AuthError> {
        while !data.is_empty() {
            self.stream.set_write_timeout(self.left()?)?;
            match self.stream.writer().write(data) {
                Ok(0) => return Err(AuthError::Io(io::ErrorKind::WriteZero.into())),
                Ok(n) => data = &data[n..],
                Err(error) => self.retry(error)?,
            }
        }
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.writer().flush().or_else(|e| self.retry(e))
    }

    /// The time that is left; `None` for ever.
    fn left(&self) -> Result<Option<Duration>, AuthError> {
        let Some(end) = self.end else {
            return Ok(None);
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(AuthError::TimedOut(self.limit));
        }
        Ok(Some(left))
    }

    /// Goes on after a signal, and at the deadline says so. An earlier timeout is not ours.
    fn retry(&self, error: io::Error) -> Result<(), AuthError> {
        /// The kernel counts in ticks, 10 ms at most, and may wake a sleeper one too early.
        const TICKS: Duration = Duration::from_millis(20);
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                if self.left()?.is_some_and(|left| left < TICKS) =>
            {
                Err(AuthError::TimedOut(self.limit))
            }
            _ => Err(AuthError::Io(error)),
        }
    }
}
