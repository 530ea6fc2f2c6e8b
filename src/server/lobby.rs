use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::accept_error::Backoff;
use super::arrival::Arrival;
use super::journal::Pressure;
use crate::handle::Door;
use crate::registry::Place;

/// What a server keeps between two looks at its listener: accepted requests that wait for room, what
/// was last done with the door, and what it has said in the log.
pub(super) struct Lobby<R> {
    waiting: VecDeque<(Instant, Arrival<R>)>,
    pub(super) door: Door,
    pub(super) backoff: Backoff,
    pub(super) pressure: Pressure,
    /// Until when nothing is accepted, after an error.
    pub(super) pause: Option<Instant>,
}

impl<R> Lobby<R> {
    pub(super) fn new() -> Self {
        Lobby {
            waiting: VecDeque::new(),
            door: Door::default(),
            backoff: Backoff::default(),
            pressure: Pressure::default(),
            pause: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lets it wait for so long.
    pub(super) fn push(&mut self, arrival: Arrival<R>, timeout: Duration) {
        // A time too far away to come: a year will do.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let until = Instant::now() + timeout.min(YEAR);
        self.waiting.push_back((until, arrival));
    }

    /// The one that has waited longest; it is active from now on.
    pub(super) fn admit(&mut self) -> Option<Arrival<R>> {
        let mut arrival = self.pop()?;
        arrival.ticket.go(Place::Active);
        Some(arrival)
    }

    /// The one that has waited longest, if that is too long.
    pub(super) fn pop_expired(&mut self) -> Option<Arrival<R>> {
        let until = self.next_expiry()?;
        if until > Instant::now() {
            return None;
        }
        self.pop()
    }

    pub(super) fn pop(&mut self) -> Option<Arrival<R>> {
        self.waiting.pop_front().map(|(_, arrival)| arrival)
    }

    /// When the one that has waited longest has waited for too long. Nobody leaves before it.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.waiting.front().map(|(until, _)| *until)
    }
}
