//! The corridor: accept → verify → dispatch on one screen. What follows, handle → close, is
//! [`Work`]'s.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Server;
use super::entrance::Entrance;
use super::service::{Work, shielded};
use crate::dispatch::{Dispatch, Job};
use crate::error::Stage;
use crate::handler::guard;
use crate::listener::Listener;
use crate::request::Request;

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
        while !self.handle.is_shutting_down() {
            let tick = self.poll_interval.and_then(after);
            if let Some(request) = entrance.get_request(tick)? {
                self.process_request(request);
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
        let request = Entrance::enter(self)?.get_request(deadline)?;
        match request {
            Some(request) => self.process_request(request),
            None if self.handle.is_shutting_down() => {}
            None => shielded("handle_timeout", || {
                self.service.hooks.handle_timeout(&self.handle)
            })
            .unwrap_or(()),
        }
        Ok(())
    }

    fn process_request(&self, mut request: L::Request) {
        log::debug!(target: "socketserver::server", "request from {}", request.client_address());
        match guard(Stage::Verify, || {
            self.service.hooks.verify_request(&mut request)
        }) {
            Ok(true) => {
                let job = Job::new(Work::new(request, Arc::clone(&self.service)));
                shielded("dispatch", || self.dispatch.dispatch(job)).unwrap_or(());
            }
            Ok(false) => self.service.refuse(request, None),
            Err(error) => self.service.refuse(request, Some(error)),
        }
    }

    fn service_actions(&self) -> io::Result<()> {
        shielded("service_actions", || {
            self.service.hooks.service_actions(&self.handle)
        })
        .unwrap_or(Ok(()))
    }
}

/// `None` for a time so far away that it never comes.
fn after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}
