use std::io;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::link::Link;
use crate::ServerHandle;
use crate::registry::Live;
use crate::timer::Alarm;

/// A connection that has an owner: hung up when the last of them is gone. A request's `rfile` and
/// `wfile` are its owners, so that either of them keeps it open.
#[derive(Debug)]
pub(super) struct Owned(Arc<Link>);

impl Owned {
    pub(super) fn new(link: &Arc<Link>) -> Arc<Self> {
        Arc::new(Owned(Arc::clone(link)))
    }
}

impl Deref for Owned {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

/// A connection's entry in its server's list, for as long as it is the server's to end.
#[derive(Debug)]
pub(super) struct Listed {
    link: Arc<Link>,
    server: ServerHandle,
    alarm: Option<Alarm>,
}

impl Listed {
    pub(super) fn new(link: &Arc<Link>, server: &ServerHandle) -> Self {
        let weak: Weak<Link> = Arc::downgrade(link);
        server.enter_connection(link.id, weak);
        Listed {
            link: Arc::clone(link),
            server: server.clone(),
            alarm: None,
        }
    }

    /// The handler starts, and with it the time it has.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.look_at(self.link.start())
    }

    /// It has this much time from now.
    pub(super) fn start_within(&mut self, deadline: Option<Duration>) -> io::Result<()> {
        self.look_at(self.link.start_within(deadline))
    }

    fn look_at(&mut self, at: Option<Instant>) -> io::Result<()> {
        let set = |at| {
            let link: Weak<Link> = Arc::downgrade(&self.link);
            Alarm::set(at, link)
        };
        self.alarm = at.map(set).transpose()?;
        Ok(())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.link.release();
        let traffic = self.link.traffic();
        self.server
            .registry()
            .remove_connection(self.link.id, traffic);
    }
}
