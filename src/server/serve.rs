//! The corridor: accept → verify → dispatch on one screen. What follows, handle → close, is
//! [`Work`]'s.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Server;
use super::arrival::Arrival;
use super::entrance::Entrance;
use super::service::{Work, shielded};
use crate::dispatch::{Dispatch, Job};
use crate::listener::Listener;
use crate::statistics::Cause;

impl<L: Listener, D: Dispatch> Server<L, D> {
    /// Serves requests until [`shutdown`](crate::ServerHandle::shutdown). Python's `serve_forever`.
    ///
    /// Blocks, asleep while there is nothing to do; a shutdown wakes it at once. Requests on other
    /// threads may still run when it returns: closing the server waits for them.
    ///
    /// # Errors
    ///
    /// - `ResourceBusy`: another thread is serving already.
    /// - `NotConnected`: the server was made with [`unbound`](super::Builder::unbound), and is not
    ///   bound and active yet.
    /// - What [`service_actions`](super::Hooks::service_actions) returns.
    /// - An accept error after which there is no going on;
    ///   [`on_accept_error`](super::on_accept_error) lists them.
    pub fn serve_forever(&self) -> io::Result<()> {
        let mut entrance = Entrance::enter(self)?;
        log::info!(target: "socketserver::server", "serving on {}", self.server_address());
        while !self.handle.is_ending() {
            let tick = self.poll_interval.and_then(after);
            if let Some(arrival) = entrance.get_request(tick)? {
                self.process_request(arrival);
            }
            if self.poll_interval.is_some() {
                self.service_actions()?;
            }
        }
        log::info!(target: "socketserver::server", "stopped serving on {}", self.server_address());
        Ok(())
    }

    /// Waits for one request and hands it to its handler. Python's `handle_request`.
    ///
    /// Blocks until there is a request, at most for [`timeout`](super::Builder::timeout), and then
    /// calls [`handle_timeout`](super::Hooks::handle_timeout); without threads, until the handler
    /// has ended too. After a shutdown it returns at once.
    ///
    /// # Errors
    ///
    /// Those of [`serve_forever`](Self::serve_forever); `service_actions` is not called.
    pub fn handle_request(&self) -> io::Result<()> {
        let deadline = self.timeout.and_then(after);
        // Held until the handler is done too, where that runs here.
        let mut entrance = Entrance::enter(self)?;
        match entrance.get_request(deadline)? {
            Some(arrival) => self.process_request(arrival),
            None if self.handle.is_ending() => {}
            None => shielded("handle_timeout", || {
                self.service.hooks.handle_timeout(&self.handle)
            })
            .unwrap_or(()),
        }
        Ok(())
    }

    fn process_request(&self, mut arrival: Arrival<L::Request>) {
        let service = Arc::clone(&self.service);
        match service.verify(&mut arrival) {
            Ok(true) => {
                let job = Job::new(Work::new(arrival, service));
                shielded("dispatch", || self.dispatch.dispatch(job)).unwrap_or(());
            }
            Ok(false) => service.refuse(arrival, None, Cause::Refused),
            Err(error) => service.refuse(arrival, Some(error), Cause::Refused),
        }
    }

    fn service_actions(&self) -> io::Result<()> {
        shielded("service_actions", || {
            self.service.hooks.service_actions(&self.handle)
        })
        .unwrap_or(Ok(()))
    }
}

/// `None` for a time too far away to come.
fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}
