use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::Server;
use super::arrival::Arrival;
use super::journal::Bound;
use super::lobby::Lobby;
use super::service::shielded;
use crate::ServerHandle;
use crate::dispatch::{Dispatch, Waker};
use crate::handle::{Control, Door, Serving};
use crate::limits::{Limits, OverloadPolicy, RejectReason};
use crate::listener::Listener;
use crate::registry::Place;
use crate::request::{Lifecycle, Request};
use crate::sync::MutexGuard;
use crate::sys::Events;

/// Where the serving thread waits for clients, for room to serve them, and for better times.
pub(super) struct Entrance<'a, L: Listener, D: Dispatch> {
    pub(super) server: &'a Server<L, D>,
    pub(super) handle: &'a ServerHandle,
    pub(super) lobby: MutexGuard<'a, Lobby<L::Request>>,
    pub(super) events: Events,
    waker: Waker,
    /// When to look after children again.
    pub(super) look: Option<Instant>,
    _serving: Serving<'a>,
}

impl<'a, L: Listener, D: Dispatch> Entrance<'a, L, D> {
    /// `ResourceBusy` while another thread is in.
    pub(super) fn enter(server: &'a Server<L, D>) -> io::Result<Self> {
        if !server.active {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!(
                    "call server_bind and server_activate before serving on {}",
                    server.server_address()
                ),
            ));
        }
        let handle = &server.handle;
        let serving = handle.start_serving()?;
        if let Some(children) = handle.children().filter(|_| L::Request::OWNS_SOCKET) {
            children.set_door(server.listener().as_fd().as_raw_fd());
        }
        Ok(Entrance {
            server,
            handle,
            lobby: server.lobby.lock(),
            events: Events::with_capacity(NonZeroUsize::MIN),
            waker: Waker::new(handle),
            look: None,
            _serving: serving,
        })
    }

    /// The next request there is room for; `None` when the deadline has come or the server is
    /// shutting down.
    ///
    /// Accepts first and sleeps only when nobody is there: a busy server never asks the poller.
    pub(super) fn get_request(
        &mut self,
        deadline: Option<Instant>,
    ) -> io::Result<Option<Arrival<L::Request>>> {
        while !self.handle.is_ending() {
            let Control { limits, door } = self.handle.control();
            self.reject_expired();
            let room = self.has_capacity(&limits);
            self.look = self.handle.look_after_children(!room);
            if room && self.lobby.len() > 0 {
                return Ok(self.lobby.admit());
            }
            if !self.accepts(room, &limits, door) {
                self.sleep(false, deadline)?;
            } else {
                match self.accept() {
                    Ok(request) => {
                        self.lobby.backoff.accepted();
                        if let Some(arrival) = self.let_in(request, room, &limits) {
                            return Ok(Some(arrival));
                        }
                    }
                    Err(error) => self.recover(error, deadline)?,
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        Ok(None)
    }

    /// Whether one more request may be handled now. If not, the bell rings when that changes.
    fn has_capacity(&mut self, limits: &Limits) -> bool {
        let registry = self.handle.registry();
        let full = match limits.permits() {
            Some(most) if !registry.has_permit(most) => Bound::Connections(most),
            _ if !self.dispatcher_has_room() => Bound::Dispatch,
            _ => return true,
        };
        self.lobby.pressure.say(self.handle, full, limits.overload);
        false
    }

    fn dispatcher_has_room(&self) -> bool {
        let has_capacity = || self.server.dispatch.has_capacity(&self.waker);
        shielded("has_capacity", has_capacity).unwrap_or(false)
    }

    /// Whether to accept another client, be it to reject it.
    fn accepts(&mut self, room: bool, limits: &Limits, door: Door) -> bool {
        let paused = self.lobby.pause.is_some_and(|until| Instant::now() < until);
        self.heed(door) && !paused && (room || self.takes_more(limits.overload))
    }

    fn takes_more(&self, policy: OverloadPolicy) -> bool {
        match policy {
            OverloadPolicy::Wait => false,
            OverloadPolicy::Queue { length, .. } => self.lobby.len() < length && self.can_reject(),
            OverloadPolicy::Reject => self.can_reject(),
        }
    }

    /// Those who queue may have to be rejected too.
    fn can_reject(&self) -> bool {
        self.server.rejections.has_capacity(&self.waker)
    }

    /// Finds a place for a request; returns it if that is with its handler.
    fn let_in(
        &mut self,
        request: L::Request,
        room: bool,
        limits: &Limits,
    ) -> Option<Arrival<L::Request>> {
        let source = limits.source(request.client_address());
        if let Some((address, most)) = source {
            if !self.enter_source(address, most) {
                self.reject_for_source(request, most);
                return None;
            }
        }
        let source = source.map(|(address, _)| address);
        if room {
            return Some(Arrival::new(request, Place::Active, source));
        }
        match limits.overload {
            OverloadPolicy::Queue { timeout, .. } => {
                let arrival = Arrival::new(request, Place::Queued, source);
                self.lobby.push(arrival, timeout);
            }
            // Somebody has left since it was asked.
            _ if self.has_capacity(limits) => {
                return Some(Arrival::new(request, Place::Active, source));
            }
            _ => {
                let why = RejectReason::Overload;
                self.server
                    .reject(Arrival::new(request, Place::rejected(why), source), why);
            }
        }
        None
    }

    fn enter_source(&self, source: IpAddr, most: usize) -> bool {
        let registry = self.handle.registry();
        if registry.enter_source(source, most) {
            return true;
        }
        // Children that have ended keep their places until they are collected.
        self.handle.children().is_some_and(|children| {
            children.look(true);
            registry.enter_source(source, most)
        })
    }

    /// In silence where too many wait for a word already: others are to be accepted.
    fn reject_for_source(&mut self, request: L::Request, most: usize) {
        let why = RejectReason::PerIp;
        let arrival = Arrival::new(request, Place::rejected(why), None);
        arrival.log_too_many(most);
        if self.can_reject() {
            self.server.reject(arrival, why);
        } else {
            self.server.service.close_rejected(arrival, why);
        }
    }

    fn reject_expired(&mut self) {
        while let Some(arrival) = self.lobby.pop_expired() {
            self.server
                .reject_queued(arrival, RejectReason::QueueTimeout);
        }
    }
}

/// Nobody is kept waiting for a server that will not come back.
impl<L: Listener, D: Dispatch> Drop for Entrance<'_, L, D> {
    fn drop(&mut self) {
        if self.handle.is_ending() {
            self.server.clear(&mut self.lobby);
        }
    }
}
