use std::fmt;
use std::sync::OnceLock;

use crate::Address;
use crate::proxy_protocol::ProxyHeader;

/// The address of a connection's client. That is the peer's, until a PROXY header has named another one.
#[derive(Debug)]
pub(super) struct ClientAddress {
    peer: Address,
    header: OnceLock<Box<ProxyHeader>>,
}

impl ClientAddress {
    pub(super) fn new(peer: Address) -> Self {
        ClientAddress {
            peer,
            header: OnceLock::new(),
        }
    }

    pub(super) fn get(&self) -> &Address {
        let named = self.header().and_then(ProxyHeader::source);
        named.unwrap_or(&self.peer)
    }

    pub(super) fn peer(&self) -> &Address {
        &self.peer
    }

    pub(super) fn header(&self) -> Option<&ProxyHeader> {
        self.header.get().map(|header| &**header)
    }

    pub(super) fn set_header(&self, header: ProxyHeader) {
        // A connection has one header.
        let _ = self.header.set(Box::new(header));
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
