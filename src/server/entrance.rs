use std::io;
use std::num::NonZeroUsize;
use std::time::Instant;

use super::Server;
use super::accept_error::{AfterError, Backoff, on_accept_error};
use super::service::shielded;
use crate::ServerHandle;
use crate::dispatch::{Dispatch, Waker};
use crate::handle::Serving;
use crate::listener::Listener;
use crate::sys::Events;

/// Where the serving thread waits for clients, for room to serve them, and for better times.
pub(super) struct Entrance<'a, L: Listener, D> {
    listener: &'a L,
    dispatch: &'a D,
    handle: &'a ServerHandle,
    events: Events,
    waker: Waker,
    backoff: Backoff,
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
        let listener = server.listener();
        Ok(Entrance {
            listener,
            dispatch: &server.dispatch,
            handle,
            events: Events::with_capacity(NonZeroUsize::MIN),
            waker: Waker::new(handle),
            backoff: Backoff::default(),
            _serving: handle.start_serving()?,
        })
    }

    /// The next request; `None` when the deadline has come or the server is shutting down.
    ///
    /// Accepts first and sleeps only when nobody is there: a busy server never asks the poller.
    pub(super) fn get_request(
        &mut self,
        deadline: Option<Instant>,
    ) -> io::Result<Option<L::Request>> {
        while !self.handle.is_shutting_down() {
            if !self.dispatch.has_room(&self.waker) {
                self.sleep(false, deadline)?;
            } else {
                match self.accept() {
                    Ok(request) => {
                        self.backoff.accepted();
                        return Ok(Some(request));
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

    fn accept(&self) -> io::Result<L::Request> {
        let panicked = || Err(io::Error::other("the listener panicked"));
        shielded("accept", || self.listener.accept(self.handle)).unwrap_or_else(panicked)
    }

    fn recover(&mut self, error: io::Error, deadline: Option<Instant>) -> io::Result<()> {
        match on_accept_error(&error) {
            AfterError::Wait => {
                self.backoff.nobody_waits(self.handle.server_address());
                self.sleep(true, deadline)
            }
            AfterError::Retry if self.backoff.may_retry() => {
                log::debug!(target: "socketserver::server", "lost a client before it was accepted: {error}");
                Ok(())
            }
            AfterError::Retry | AfterError::BackOff => {
                let pause =
                    Instant::now() + self.backoff.next(&error, self.handle.server_address());
                self.pause(deadline.map_or(pause, |deadline| deadline.min(pause)))
            }
            AfterError::Stop => Err(error),
        }
    }

    /// Sleeps without a look at the listener, which would say again and again that somebody is
    /// waiting.
    fn pause(&mut self, until: Instant) -> io::Result<()> {
        while !self.handle.is_shutting_down() && Instant::now() < until {
            self.sleep(false, Some(until))?;
        }
        Ok(())
    }

    fn sleep(&mut self, watch: bool, deadline: Option<Instant>) -> io::Result<()> {
        let door = watch.then(|| self.listener.as_fd());
        self.handle.bell().sleep(door, deadline, &mut self.events)
    }
}
