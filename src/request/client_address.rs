use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::Address;
use crate::proxy_protocol::ProxyHeader;

/// The address of a connection's client. That is the peer's, until a PROXY header has named another one.
#[derive(Debug)]
pub(super) struct ClientAddress {
    peer: Address,
    header: OnceLock<Arc<ProxyHeader>>,
}

impl ClientAddress {
    pub(super) fn new(peer: Address) -> Self {
        ClientAddress {
            peer,
            header: OnceLock::new(),
        }
    }

    pub(super) fn get(&self) -> &Address {
        let named = self.header().and_then(|header| header.source());
        named.unwrap_or(&self.peer)
    }

    pub(super) fn peer(&self) -> &Address {
        &self.peer
    }

    pub(super) fn header(&self) -> Option<&Arc<ProxyHeader>> {
        self.header.get()
    }

    pub(super) fn set_header(&self, header: ProxyHeader) {
        // A connection has one header.
        let _ = self.header.set(Arc::new(header));
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
