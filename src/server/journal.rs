//! What the log says of requests.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use super::arrival::Arrival;
use crate::error::RequestError;
use crate::handle::ServerHandle;
use crate::limits::OverloadPolicy;
use crate::request::Request;

impl RequestError {
    /// Writes the error to the log, as the default [`handle_error`](crate::Hooks::handle_error)
    /// does: a client that went away at debug level, the rest at error level.
    ///
    /// However many there are, a server writes 100 such lines in a row and then ten a second, and
    /// says how many it held back: an attack cannot fill the disk. Rust's panic hook, however, writes
    /// its own lines to stderr for every panic; `std::panic::set_hook` changes that.
    pub fn log<R: Request>(&self, request: &R) {
        if self.is_disconnect() {
            log::debug!(target: "socketserver::handler", "{}: {self}", Name(request));
        } else if let Some(held_back) = request.server().throttle().admit() {
            log::error!(target: "socketserver::handler", "{}: {self}{held_back}", Name(request));
        }
    }
}

/// Says what a hook threw that nobody can be told of but here.
pub(super) fn log_panic<R: Request>(request: &R, hook: &str, panic: &dyn Error) {
    if let Some(held_back) = request.server().throttle().admit() {
        log::error!(target: "socketserver::server", "{}: {hook} {panic}{held_back}", Name(request));
    }
}

/// What a request is called in the log.
struct Name<'a, R>(&'a R);

impl<R: Request> fmt::Display for Name<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.0;
        write!(
            f,
            "request {} from {}",
            request.id(),
            request.client_address()
        )
    }
}

impl<R: Request> Arrival<R> {
    pub(super) fn log_beginning(&self) {
        log::debug!(target: "socketserver::server", "{}: accepted", Name(&self.request));
    }

    /// The last line of a request, before it is closed.
    pub(super) fn log_end(&self, end: &dyn fmt::Display) {
        if log::log_enabled!(target: "socketserver::server", log::Level::Debug) {
            let (bytes_in, bytes_out) = self.request.traffic();
            log::debug!(
                target: "socketserver::server",
                "{}: {end} after {:.3?}, {bytes_in} bytes in, {bytes_out} bytes out",
                Name(&self.request), self.ticket.age()
            );
        }
    }

    pub(super) fn log_too_many(&self, most: usize) {
        if let Some(held_back) = self.ticket.server().throttle().admit() {
            log::warn!(
                target: "socketserver::server",
                "{}: rejected, its source has {most} already (max_per_ip sets the bound){held_back}",
                Name(&self.request)
            );
        }
    }
}

/// Which bound keeps new clients out.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    Connections(usize),
    Dispatch,
}

/// Says that there is no room: a line a minute, while it lasts.
#[derive(Default)]
pub(super) struct Pressure(Option<Instant>);

impl Pressure {
    const MINUTE: Duration = Duration::from_secs(60);

    pub(super) fn say(&mut self, server: &ServerHandle, bound: Bound, policy: OverloadPolicy) {
        if self.0.is_some_and(|said| said.elapsed() < Self::MINUTE) {
            return;
        }
        self.0 = Some(Instant::now());
        let fate = match policy {
            OverloadPolicy::Wait => "wait until one is free",
            OverloadPolicy::Queue { .. } => "are queued",
            OverloadPolicy::Reject => "are rejected",
        };
        let (taken, setter) = match (bound, server.threads()) {
            (Bound::Connections(most), _) => {
                let taken = format!("all connections are taken, {most} of them");
                (taken, " (max_connections sets the bound)")
            }
            (Bound::Dispatch, Some(threads)) => {
                let taken = format!("all threads are busy, {} of them", threads.limit());
                (taken, " (max_threads sets the bound)")
            }
            (Bound::Dispatch, None) if server.children().is_some() => {
                let taken = "there are as many children as there may be".to_owned();
                (taken, " (max_children sets the bound)")
            }
            (Bound::Dispatch, None) => ("the dispatcher has no room".to_owned(), ""),
        };
        log::warn!(
            target: "socketserver::server",
            "{}: {taken}; new clients {fate}{setter}", server.server_address()
        );
    }
}
