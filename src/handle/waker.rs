use super::ServerHandle;

/// Wakes a server that waits for its dispatcher to have room: see
/// [`Dispatch::has_capacity`](crate::dispatch::Dispatch::has_capacity).
#[derive(Clone, Debug)]
pub struct Waker(ServerHandle);

impl Waker {
    pub(crate) fn new(server: &ServerHandle) -> Self {
        Waker(server.clone())
    }

    /// Whether both wake the same server.
    pub fn will_wake(&self, other: &Waker) -> bool {
        self.0.is(&other.0)
    }

    /// Makes the server ask again. Never blocks; a call too many does no harm.
    pub fn wake(&self) {
        self.0.0.bell.ring();
    }
}
