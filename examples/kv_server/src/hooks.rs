//! The server's hooks: the limit of clients, and removing expired keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
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
        // There is no idle timeout, so keepalive finds clients whose machine is gone.
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(300));
        SockRef::from(&*request).set_tcp_keepalive(&keepalive)?;
        // So the system takes a long reply in small steps, and a client that reads slowly is not stalled.
        #[cfg(target_os = "linux")]
        SockRef::from(&*request).set_tcp_notsent_lowat(128 << 10)?;
        Ok(true)
    }

    /// Removes expired keys. Otherwise they would use memory until the next command.
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        drop(self.instance.store());
        Ok(())
    }
}
