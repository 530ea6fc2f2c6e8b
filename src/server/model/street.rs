use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::listener::Listener;
use crate::request::{Lifecycle, Request};
use crate::sync::Mutex;
use crate::sync::model::Tally;
use crate::{Address, ServerHandle};

/// Clients before, during and after their visits. Clones are the same street.
#[derive(Clone, Default)]
pub(super) struct Street {
    waiting: Arc<Mutex<VecDeque<usize>>>,
    /// From accept to close.
    pub(super) present: Tally,
    pub(super) handled: Tally,
}

impl Street {
    pub(super) fn with(clients: usize) -> Self {
        let street = Street::default();
        street.waiting.lock().extend(0..clients);
        street
    }

    /// One more client. The bell stands for the listener's descriptor, which is readable now.
    pub(super) fn knock(&self, number: usize, server: &ServerHandle) {
        self.waiting.lock().push_back(number);
        server.bell().ring();
    }

    pub(super) fn listener(&self) -> Visits {
        Visits {
            street: self.clone(),
            door: File::open("/dev/null").expect("every system has it"),
        }
    }
}

/// A listener without a socket.
pub(super) struct Visits {
    street: Street,
    /// Something to watch.
    door: File,
}

impl Listener for Visits {
    type Request = Visit;

    fn accept(&self, server: &ServerHandle) -> io::Result<Visit> {
        let first = self.street.waiting.lock().pop_front();
        let number = first.ok_or(io::ErrorKind::WouldBlock)?;
        self.street.present.begin();
        Ok(Visit {
            number,
            present: self.street.present.clone(),
            server: server.clone(),
        })
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(Address::Unnamed)
    }
}

impl AsFd for Visits {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.door.as_fd()
    }
}

/// A request without a connection.
pub(super) struct Visit {
    pub(super) number: usize,
    present: Tally,
    server: ServerHandle,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.present.end(self.number);
    }
}

impl Request for Visit {
    fn id(&self) -> u64 {
        self.number as u64
    }

    fn client_address(&self) -> &Address {
        &Address::Unnamed
    }

    fn server(&self) -> &ServerHandle {
        &self.server
    }
}

impl Lifecycle for Visit {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    const OWNS_SOCKET: bool = false;

    fn begin_rejection(&mut self, _: Duration, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn traffic(&self) -> (u64, u64) {
        (0, 0)
    }

    fn abandon(&mut self) {}
}
