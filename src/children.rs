use std::fmt;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// The processes that a dispatcher runs requests in, for the server to look after. Clones stand for
/// the same ones. Only `dispatch::Fork` has any.
#[derive(Clone)]
pub struct Children(Arc<dyn Offspring>);

/// Processes that a server has to look after.
pub(crate) trait Offspring: Send + Sync {
    /// Takes leave of those that have ended, if it is time to or `soon` enough; never waits. Returns
    /// when to look again, if any are left.
    fn look(&self, soon: bool) -> Option<Duration>;

    /// Tells them that the server is shutting down; called on every look from then on.
    fn drain(&self);

    /// Ends them now.
    fn kill(&self);

    /// Sets how many there may be; 0 counts as 1.
    fn set_most(&self, children: usize);

    /// Where clients come in, which is no business of theirs.
    fn set_door(&self, door: RawFd);
}

impl Children {
    /// How long a server waits for a request by default before it looks whether any have ended.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(300);

    #[cfg(feature = "fork")]
    pub(crate) fn new(offspring: Arc<dyn Offspring>) -> Self {
        Children(offspring)
    }

    pub(crate) fn get(&self) -> &dyn Offspring {
        &*self.0
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Children")
    }
}
