//! What the log says about requests.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use super::service::Accepted;
use crate::Address;
use crate::error::RequestError;
use crate::handle::ServerHandle;
use crate::limits::{Limits, OverloadPolicy};
use crate::request::{Lifecycle, Request};

impl RequestError {
    /// Writes the error to the log, as the default [`handle_error`](crate::Hooks::handle_error) does: at
    /// debug level if the client has disconnected, at error level otherwise.
    ///
    /// The lines are rate-limited, so that clients cannot fill the disk: a server writes 100 of them in a
    /// row, then ten per second, and logs how many it has suppressed. Rust's panic hook writes its own lines
    /// to stderr for every panic; `std::panic::set_hook` changes that.
    #[doc(alias = "rate limit")]
    pub fn log<R: Request>(&self, request: &R) {
        if self.is_disconnect() {
            log::debug!(target: "socketserver::handler", "{}: {self}", Name::of(request));
        } else if let Some(suppressed) = request.server().log_limit().allow() {
            log::error!(target: "socketserver::handler", "{}: {self}{suppressed}", Name::of(request));
        }
    }
}

/// Logs a panic of a hook that reports errors.
pub(super) fn log_panic<R: Request>(request: &R, hook: &str, panic: &dyn Error) {
    if let Some(suppressed) = request.server().log_limit().allow() {
        log::error!(target: "socketserver::server", "{}: {hook} {panic}{suppressed}", Name::of(request));
    }
}

/// What the log calls a request.
pub(super) struct Name<'a> {
    id: u64,
    client_address: &'a Address,
}

impl<'a> Name<'a> {
    fn of<R: Request>(request: &'a R) -> Self {
        Name {
            id: request.id(),
            client_address: request.client_address(),
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} from {}", self.id, self.client_address)
    }
}

impl<R: Request> Accepted<R> {
    pub(super) fn name(&self) -> Name<'_> {
        Name {
            id: self.permit.id(),
            client_address: self.permit.client_address(),
        }
    }

    pub(super) fn log_begin(&self) {
        log::debug!(target: "socketserver::server", "{}: accepted", self.name());
    }

    /// The last line of a request, before it is closed.
    pub(super) fn log_end(&self) {
        if log::log_enabled!(target: "socketserver::server", log::Level::Debug) {
            let bytes = self.request.as_ref().map(Lifecycle::byte_counts);
            let (bytes_in, bytes_out) = bytes.unwrap_or_default();
            log::debug!(
                target: "socketserver::server",
                "{}: {} after {:.3?}, {bytes_in} bytes in, {bytes_out} bytes out",
                self.name(), self.permit.end(), self.permit.age()
            );
        }
    }

    pub(super) fn log_too_many(&self, limits: &Limits) {
        let limit = limits.max_per_ip.unwrap_or_default().max(1);
        if let Some(suppressed) = self.permit.server().log_limit().allow() {
            log::warn!(
                target: "socketserver::server",
                "{}: rejected, its IP address has {limit} requests already (max_per_ip sets the limit){suppressed}",
                self.name()
            );
        }
    }
}

/// Which limit keeps new clients out.
#[derive(Clone, Copy)]
pub(super) enum Saturated {
    Connections(usize),
    Dispatch,
}

/// Logs that a limit is reached: one line per minute while it is.
#[derive(Default)]
pub(super) struct SaturationLog(Option<Instant>);

impl SaturationLog {
    const INTERVAL: Duration = Duration::from_secs(60);

    pub(super) fn log(&mut self, server: &ServerHandle, limit: Saturated, policy: OverloadPolicy) {
        if self
            .0
            .is_some_and(|logged| logged.elapsed() < Self::INTERVAL)
        {
            return;
        }
        self.0 = Some(Instant::now());
        let consequence = match policy {
            OverloadPolicy::Wait => "wait",
            OverloadPolicy::Queue { .. } => "are queued",
            OverloadPolicy::Reject => "are rejected",
        };
        let (limit, setter) = match (limit, server.threads()) {
            (Saturated::Connections(limit), _) => {
                let limit = format!("the limit of {limit} connections is reached");
                (limit, " (max_connections sets the limit)")
            }
            (Saturated::Dispatch, Some(threads)) => {
                let limit = format!("all {} threads are busy", threads.limit());
                (limit, " (max_threads sets the limit)")
            }
            (Saturated::Dispatch, None) if server.children().is_some() => {
                let limit = "the limit of child processes is reached".to_owned();
                (limit, " (max_children sets the limit)")
            }
            (Saturated::Dispatch, None) => ("the dispatcher has no capacity".to_owned(), ""),
        };
        log::warn!(
            target: "socketserver::server",
            "{}: {limit}; new clients {consequence}{setter}", server.server_address()
        );
    }
}
