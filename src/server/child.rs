//! Requests that a forked process handles. Feature `fork`.

use super::request_log::Name;
use super::service::Accepted;
use crate::dispatch::child_table::ChildWork;
use crate::request::Request;
use crate::statistics::Outcome;
use crate::sys::process::{self, ExitState, Pid};

impl<R: Request> ChildWork for Accepted<R> {
    fn begin_in_child(&mut self) {
        let server = self.permit.server().clone();
        self.permit.abandon_others();
        process::once_on_sigterm(move || server.shutdown());
    }

    /// Keeps the permit until the child has ended.
    fn leave_to(&mut self, child: Pid) {
        self.permit.begin();
        if let Some(request) = &mut self.request {
            request.abandon();
        }
        self.close();
        log::debug!(target: "socketserver::dispatch", "{}: process {child}: started", Name::of(&self.permit));
    }

    fn child_ended(&mut self, child: Pid, exit: ExitState) {
        let server = self.permit.server().clone();
        let outcome = match exit {
            ExitState::Exited(0) => Outcome::Finished,
            ExitState::Killed(_) if server.is_forced() => Outcome::Disconnected,
            ExitState::Killed(_) => Outcome::Panicked,
            _ => Outcome::Failed,
        };
        self.permit.record(outcome);
        let suppressed = match outcome {
            Outcome::Panicked => server.log_limit().allow(),
            _ => None,
        };
        if let Some(suppressed) = suppressed {
            log::error!(
                target: "socketserver::dispatch",
                "{}: process {child} {exit}{suppressed}", Name::of(&self.permit)
            );
        }
        log::debug!(
            target: "socketserver::dispatch",
            "{}: process {child} {exit} after {:.3?}", Name::of(&self.permit), self.permit.age()
        );
    }
}
