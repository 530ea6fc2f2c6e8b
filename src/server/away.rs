use super::arrival::{Arrival, Ticket};
use super::service::close;
use crate::Address;
use crate::dispatch::Remote;
use crate::request::Request;
use crate::statistics::Outcome;
use crate::sys::process::{End, Pid};

/// What is left here of a request that a child handles: its ticket, and its name for the log.
pub(super) struct Away {
    id: u64,
    client_address: Address,
    child: Pid,
    ticket: Ticket,
}

impl Away {
    pub(super) fn new<R: Request>(arrival: Arrival<R>, child: Pid) -> Self {
        let Arrival {
            mut request,
            mut ticket,
        } = arrival;
        ticket.begin();
        request.abandon();
        let (id, client_address) = (request.id(), request.client_address().clone());
        close(id, request);
        let away = Away {
            id,
            client_address,
            child,
            ticket,
        };
        log::debug!(target: "socketserver::dispatch", "{}: started", away.name());
        away
    }

    fn name(&self) -> String {
        let Away {
            id,
            client_address,
            child,
            ..
        } = self;
        format!("request {id} from {client_address}: process {child}")
    }
}

impl Remote for Away {
    fn ended(mut self: Box<Self>, end: End) {
        match end {
            End::Exited(0) => {}
            End::Killed(_) if self.ticket.server().is_forced() => {
                self.ticket.note(Outcome::Disconnected);
            }
            End::Killed(_) => {
                self.ticket.note(Outcome::Panicked);
                if let Some(held_back) = self.ticket.server().throttle().admit() {
                    log::error!(target: "socketserver::dispatch", "{} {end}{held_back}", self.name());
                }
            }
            _ => self.ticket.note(Outcome::Failed),
        }
        log::debug!(
            target: "socketserver::dispatch",
            "{} {end} after {:.3?}", self.name(), self.ticket.age()
        );
    }
}
