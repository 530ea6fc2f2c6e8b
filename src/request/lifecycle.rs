use std::io;
use std::time::Duration;

/// What the server does around a handler. Nobody outside can name the trait, so it
/// seals [`Request`](super::Request).
pub trait Lifecycle {
    /// Whether it has a socket of its own, and not the server's.
    const OWNS_SOCKET: bool;

    /// Before `setup`, on the handler's thread: sets the options the builder was given.
    fn begin(&mut self) -> io::Result<()>;

    /// Instead of that, before a request is rejected: it has this much time, or each of its reads
    /// and writes has where no other thread may be started.
    fn begin_rejection(&mut self, within: Duration, alone: bool) -> io::Result<()>;

    /// Lets go of the connection without a word, for another process has it.
    fn abandon(&mut self);

    /// After `finish`: sends what is left in `wfile`.
    fn end(&mut self) -> io::Result<()>;

    /// Bytes received and sent so far.
    fn traffic(&self) -> (u64, u64);
}
