//! The server's hooks: the limit of clients, and removing expired keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socketserver::prelude::*;

use super::instance::Instance;

pub struct InstanceHooks {
    instance: Arc<Instance>,
}

impl InstanceHooks {
    pub fn new(instance: &Arc<Instance>) -> Self {
        InstanceHooks {
            instance: Arc::clone(instance),
        }
    }
}

impl Hooks for InstanceHooks {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        let Some(client) = self.instance.enter() else {
            request
                .wfile
                .write_all(b"-ERR max number of clients reached\r\n")?;
            return Ok(false);
        };
        request.extensions.insert(client);
        self.instance.connections.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Removes expired keys. Otherwise they would use memory until the next command.
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        drop(self.instance.store());
        Ok(())
    }
}
