use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::Address;

/// How much a server takes on at once, and what it does with the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_per_ip: Option<usize>,
    pub(crate) ipv6_prefix: u8,
    pub(crate) overload: OverloadPolicy,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: None,
            max_per_ip: None,
            ipv6_prefix: 64,
            overload: OverloadPolicy::Wait,
        }
    }
}

/// What becomes of new clients while a server has no room: all
/// [`max_connections`](crate::Builder::max_connections) are taken, or all
/// [threads](crate::Builder::max_threads) or children busy.
///
/// A server that runs one request after the other ([`Inline`](crate::dispatch::Inline)) accepts nobody
/// meanwhile: its clients wait, whatever is said here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverloadPolicy {
    /// Nothing is accepted: they wait in the kernel's queue. Once that is full, TCP clients try again
    /// until they give up, and datagrams are dropped without a word. The default.
    #[default]
    Wait,
    /// They are accepted, and wait here for room. What has waited for longer than `timeout` is
    /// [rejected](crate::Hooks::reject_request). While `length` of them wait, nothing more is
    /// accepted.
    Queue {
        /// How many may wait; 0 is [`Wait`](Self::Wait).
        length: usize,
        /// How long each may wait.
        timeout: Duration,
    },
    /// They are accepted and [rejected](crate::Hooks::reject_request) at once.
    Reject,
}

/// Why a request is rejected: see [`Hooks::reject_request`](crate::Hooks::reject_request).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// There is no room, and [`OverloadPolicy::Reject`] says so.
    Overload,
    /// It has waited in the queue for as long as [`OverloadPolicy::Queue`] allows.
    QueueTimeout,
    /// Its source has [as many](crate::Builder::max_per_ip) already.
    PerIp,
    /// It was queued when the server shut down.
    Shutdown,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::Overload => "no room",
            RejectReason::QueueTimeout => "no room in time",
            RejectReason::PerIp => "too many of one source",
            RejectReason::Shutdown => "shutting down",
        })
    }
}

impl Limits {
    /// How many requests may be active at once, if that is bounded.
    pub(crate) fn permits(&self) -> Option<usize> {
        self.max_connections.map(|most| most.max(1))
    }

    /// Whom a client counts with, its IPv4 address or the network of its IPv6 address, and how many
    /// those may be. `None` where sources are not counted: Unix sockets have none.
    pub(crate) fn source(&self, client: &Address) -> Option<(IpAddr, usize)> {
        let most = self.max_per_ip?.max(1);
        let source = match client.ip()? {
            IpAddr::V6(address) => network(address, self.ipv6_prefix).into(),
            v4 => v4,
        };
        Some((source, most))
    }
}

fn network(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let host_bits = 128 - u32::from(prefix.min(128));
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(client: &str, ipv6_prefix: u8) -> IpAddr {
        let limits = Limits {
            max_per_ip: Some(1),
            ipv6_prefix,
            ..Limits::default()
        };
        let client = client.parse::<IpAddr>().expect("an address");
        let source = limits.source(&Address::from((client, 80)));
        source.expect("it is counted").0
    }

    fn is(source: IpAddr, expected: &str) {
        assert_eq!(source, expected.parse::<IpAddr>().expect("an address"));
    }

    #[test]
    fn an_ipv6_source_is_a_network() {
        let client = "2001:db8:1:2:3:4:5:ffff";
        is(source(client, 64), "2001:db8:1:2::");
        is(source(client, 48), "2001:db8:1::");
        is(source(client, 127), "2001:db8:1:2:3:4:5:fffe");
        is(source(client, 128), client);
        is(source(client, 255), client);
        is(source(client, 0), "::");
    }

    #[test]
    fn an_ipv4_source_is_an_address_mapped_or_not() {
        is(source("192.0.2.1", 0), "192.0.2.1");
        is(source("::ffff:192.0.2.1", 64), "192.0.2.1");
    }

    #[test]
    fn unix_clients_have_no_source() {
        let limits = Limits {
            max_per_ip: Some(1),
            ..Limits::default()
        };
        assert_eq!(limits.source(&Address::Unnamed), None);
        assert_eq!(limits.source(&Address::Path("socket".into())), None);
    }
}
