use std::io;

/// What the server does around a handler. Nobody outside can name the trait, so it
/// seals [`Request`](super::Request).
pub trait Lifecycle {
    /// Before `setup`, on the handler's thread: sets the options the builder was given.
    fn begin(&mut self) -> io::Result<()>;

    /// After `finish`: sends what is left in `wfile`.
    fn end(&mut self) -> io::Result<()>;
}
