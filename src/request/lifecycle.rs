use std::io;
use std::time::Duration;

/// What the server does around a handler. Nobody outside can name the trait, so it
/// seals [`Request`](super::Request).
pub trait Lifecycle {
    /// Before `setup`, on the handler's thread: sets the options the builder was given.
    fn begin(&mut self) -> io::Result<()>;

    /// Instead of that, before a request is rejected: it has this much time.
    fn begin_rejection(&mut self, within: Duration) -> io::Result<()>;

    /// After `finish`: sends what is left in `wfile`.
    fn end(&mut self) -> io::Result<()>;

    /// Bytes received and sent so far.
    fn traffic(&self) -> (u64, u64);
}
