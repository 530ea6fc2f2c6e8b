//! Log lines about requests.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::error::{RequestError, Stage};
use crate::handle::{Permit, RequestName, ServerHandle};
use crate::limits::{Limits, OverloadPolicy};
use crate::log_line::log_line;
use crate::request::Request;

impl RequestError {
    /// Writes the error to the log, as the default [`handle_error`](crate::Hooks::handle_error) does: at
    /// debug level if the client has disconnected, or for a TLS handshake, at warning level if its PROXY header could
    /// not be received, and at error level otherwise.
    ///
    /// The error is one line, with its sources. What is not printable in it, as in all lines of the library,
    /// is escaped: clients may have chosen its text.
    ///
    /// The lines are rate-limited, so that clients cannot fill the disk: a server writes 100 of them in a
    /// row, then ten per second, and logs how many it has suppressed. Rust's panic hook writes its own lines
    /// to stderr for every panic, without limit or escape; `std::panic::set_hook` changes that.
    #[doc(alias = "rate limit")]
    pub fn log<R: Request>(&self, request: &R) {
        if self.is_disconnect() || self.is_handshake() {
            log_line!(target: "socketserver::handler", Debug, "{}: {self}", request_name(request));
        } else if let Some(suppressed) = request.server().log_limit().allow() {
            let name = request_name(request);
            match self.stage() {
                Stage::ProxyHeader => {
                    log_line!(target: "socketserver::handler", Warn, "{name}: {self}{suppressed}");
                }
                _ => {
                    log_line!(target: "socketserver::handler", Error, "{name}: {self}{suppressed}");
                }
            }
        }
    }
}

/// Logs a panic of a hook that reports errors.
pub(super) fn log_panic<R: Request>(request: &R, hook: &str, panic: &dyn Error) {
    if let Some(suppressed) = request.server().log_limit().allow() {
        log_line!(target: "socketserver::server", Error, "{}: {hook} {panic}{suppressed}", request_name(request));
    }
}

fn request_name<R: Request>(request: &R) -> RequestName<'_> {
    RequestName {
        server: request.server(),
        id: request.id(),
        client_address: request.client_address(),
    }
}

pub(super) fn log_begin(permit: &Permit) {
    log_line!(target: "socketserver::server", Debug, "{}: accepted", permit.name());
}

/// The last line of a request, before it is closed.
pub(super) fn log_end<R: Request>(permit: &Permit, request: &R) {
    let (bytes_in, bytes_out) = request.byte_counts();
    log_line!(
        target: "socketserver::server", Debug,
        "{}: {} after {:.3?}, {bytes_in} bytes in, {bytes_out} bytes out",
        permit.name(), permit.end(), permit.age()
    );
}

pub(super) fn log_too_many(permit: &Permit, limits: &Limits) {
    let limit = limits.max_per_ip.unwrap_or_default().max(1);
    if let Some(suppressed) = permit.server().log_limit().allow() {
        log_line!(
            target: "socketserver::server", Warn,
            "{}: rejected, its IP address has {limit} requests already (max_per_ip sets the limit){suppressed}",
            permit.name()
        );
    }
}

pub(super) fn log_untrusted(permit: &Permit) {
    if let Some(suppressed) = permit.server().log_limit().allow() {
        log_line!(
            target: "socketserver::server", Warn,
            "{}: refused, it is not a trusted proxy (proxy_protocol sets them){suppressed}",
            permit.name()
        );
    }
}

/// Which limit keeps new clients out.
#[derive(Clone, Copy)]
pub(super) enum Saturated {
    Connections(usize),
    Group(usize),
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
            (Saturated::Group(limit), _) => {
                let limit = format!("the group's limit of {limit} connections is reached");
                (limit, " (ServerGroup::max_connections sets the limit)")
            }
            (Saturated::Dispatch, _) if server.has_tasks() => {
                let limit = "the limit of tasks is reached".to_owned();
                (limit, " (max_tasks sets the limit)")
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
        log_line!(
            target: "socketserver::server", Warn,
            "{}: {limit}; new clients {consequence}{setter}", server.log_name()
        );
    }
}
