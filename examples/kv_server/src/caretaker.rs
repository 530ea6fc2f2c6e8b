//! What is done beside the sessions: counting them, and removing what has expired.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use socketserver::prelude::*;

use super::instance::Instance;

pub struct Caretaker {
    instance: Arc<Instance>,
}

impl Caretaker {
    pub fn new(instance: &Arc<Instance>) -> Self {
        Caretaker {
            instance: Arc::clone(instance),
        }
    }
}

impl Hooks for Caretaker {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        let Some(place) = self.instance.enter() else {
            request
                .wfile
                .write_all(b"-ERR max number of clients reached\r\n")?;
            return Ok(false);
        };
        request.extensions.insert(place);
        self.instance.connections.fetch_add(1, Ordering::Relaxed);
        // Idle clients may stay for ever, but not those whose machine is gone.
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(300));
        SockRef::from(&*request).set_tcp_keepalive(&keepalive)?;
        Ok(true)
    }

    /// Without it, what expires would take memory until the next command.
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        drop(self.instance.store());
        Ok(())
    }
}
