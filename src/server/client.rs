//! The checks of a client whose address only its PROXY header says.

use super::request_log::log_too_many;
use super::service::Accepted;
use crate::error::{RequestError, Stage};
use crate::limits::RejectReason;
use crate::request::Request;
use crate::statistics::Cause;

impl<R: Request> Accepted<R> {
    /// Receives the PROXY header, and then checks the limit per IP and `verify_request`. Returns whether to
    /// run the handler.
    pub(super) fn admit_client(&mut self) -> bool {
        self.receive_proxy_header() && self.enter_ip() && self.verify_client()
    }

    fn receive_proxy_header(&mut self) -> bool {
        let (request, permit, service) = self.parts();
        let server = permit.server().clone();
        let Some(proxies) = &server.stream_options().proxy_protocol else {
            return true;
        };
        match request.receive_proxy_header(proxies) {
            Ok(true) => {
                permit.set_client_address(request.client_address());
                true
            }
            Ok(false) => {
                permit.refuse(Cause::RejectReason(RejectReason::Shutdown));
                false
            }
            Err(error) => {
                permit.begin();
                let error = RequestError::new(Stage::ProxyHeader, error);
                permit.record(service.handle_error(request, error));
                false
            }
        }
    }

    fn enter_ip(&mut self) -> bool {
        let (request, permit, _) = self.parts();
        let limits = permit.server().control().limits;
        let counted = limits.counted_ip(request.client_address());
        if counted.is_none_or(|(ip, limit)| permit.enter_ip(ip, limit)) {
            return true;
        }
        log_too_many(permit, &limits);
        self.reject(RejectReason::PerIp);
        false
    }

    fn verify_client(&mut self) -> bool {
        match self.call_verify_request() {
            Ok(true) => return true,
            Ok(false) => self.end_refused(None, Cause::Refused),
            Err(error) => self.end_refused(Some(error), Cause::Refused),
        }
        false
    }
}
