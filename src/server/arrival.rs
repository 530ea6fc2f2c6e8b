use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::ServerHandle;
use crate::registry::{Place, RunningHere};
use crate::request::Request;
use crate::statistics::Outcome;

/// An accepted request with its ticket. Dropped in this order: a request is there until it is
/// closed.
pub(super) struct Arrival<R> {
    pub(super) request: R,
    pub(super) ticket: Ticket,
}

impl<R: Request> Arrival<R> {
    pub(super) fn new(request: R, place: Place, source: Option<IpAddr>) -> Self {
        let ticket = Ticket::new(request.server(), place, source);
        let arrival = Arrival { request, ticket };
        arrival.log_beginning();
        arrival
    }
}

/// A request's presence in its server, from accept to close: where it is, the permit it holds while
/// it is active, and what is to be counted when it leaves.
pub(super) struct Ticket {
    server: ServerHandle,
    place: Place,
    source: Option<IpAddr>,
    since: Instant,
    outcome: Option<Outcome>,
}

impl Ticket {
    fn new(server: &ServerHandle, place: Place, source: Option<IpAddr>) -> Self {
        server.registry().arrive(place);
        Ticket {
            server: server.clone(),
            place,
            source,
            since: Instant::now(),
            outcome: None,
        }
    }

    pub(super) fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// Marks this thread as running the request, until the guard is dropped.
    pub(super) fn run_here(&self) -> RunningHere {
        self.server.registry().run_here()
    }

    /// How long ago it was accepted.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn go(&mut self, place: Place) {
        if self.server.registry().go(self.place, place) {
            self.server.bell().ring();
        }
        self.place = place;
    }

    /// The handler has begun.
    pub(super) fn begin(&mut self) {
        self.outcome = Some(Outcome::Finished);
    }

    /// Something went wrong; what tells most is remembered.
    pub(super) fn note(&mut self, outcome: Outcome) {
        self.outcome = self.outcome.max(Some(outcome));
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let registry = self.server.registry();
        if registry.leave(self.place, self.source, self.outcome) {
            self.server.bell().ring();
        }
    }
}
