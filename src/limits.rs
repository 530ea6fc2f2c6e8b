use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::Address;

/// The limits of active requests, and the policy for further clients.
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

/// What the server does with new requests during overload: it has reached
/// [`max_connections`](crate::Builder::max_connections), or all
/// [threads](crate::Builder::max_threads) or children are busy.
///
/// The guide compares them: [limits](crate::guide::limits). A server that runs one request after the
/// other ([`Inline`](crate::dispatch::Inline)) always waits: it accepts the next client after the
/// current request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverloadPolicy {
    /// Accept nothing: backpressure. Connections wait in the kernel's backlog, datagrams in the
    /// socket's receive buffer. If the backlog is full, TCP clients retry until their connect times
    /// out. If the buffer is full, the kernel drops datagrams. The default.
    #[default]
    Wait,
    /// Accept requests into the pending queue, where they wait until they can be dispatched. A request
    /// that waits longer than `timeout` is [rejected](crate::Hooks::reject_request). While the queue
    /// holds `length` requests, nothing is accepted.
    Queue {
        /// The maximum number of pending requests; 0 is the same as [`Wait`](Self::Wait).
        length: usize,
        /// How long each request may wait.
        timeout: Duration,
    },
    /// Accept requests and [reject](crate::Hooks::reject_request) them at once.
    Reject,
}

/// Why a request is rejected. [`Hooks::reject_request`](crate::Hooks::reject_request) gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The server is overloaded and has [`OverloadPolicy::Reject`].
    Overload,
    /// It waited in the pending queue for the whole timeout of [`OverloadPolicy::Queue`].
    QueueTimeout,
    /// Its client IP already has [`max_per_ip`](crate::Builder::max_per_ip) requests.
    PerIp,
    /// It was in the pending queue when the server shut down.
    Shutdown,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::Overload => "overload",
            RejectReason::QueueTimeout => "queue timeout",
            RejectReason::PerIp => "too many per IP",
            RejectReason::Shutdown => "shutdown",
        })
    }
}

impl Limits {
    /// The IP address that a client is counted under, and the limit per IP. An IPv6 client is counted
    /// under its network. `None` without a limit, and for Unix sockets.
    pub(crate) fn counted_ip(&self, client: &Address) -> Option<(IpAddr, usize)> {
        let max = self.max_per_ip?.max(1);
        let ip = match client.ip()? {
            IpAddr::V6(address) => network(address, self.ipv6_prefix).into(),
            v4 => v4,
        };
        Some((ip, max))
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

    fn counted_ip(client: &str, ipv6_prefix: u8) -> IpAddr {
        let limits = Limits {
            max_per_ip: Some(1),
            ipv6_prefix,
            ..Limits::default()
        };
        let client = client.parse::<IpAddr>().expect("an address");
        let counted = limits.counted_ip(&Address::from((client, 80)));
        counted.expect("there is a limit").0
    }

    #[track_caller]
    fn expect(client: &str, ipv6_prefix: u8, expected: &str) {
        let ip = counted_ip(client, ipv6_prefix);
        assert_eq!(ip, expected.parse::<IpAddr>().expect("an address"));
    }

    #[test]
    fn ipv6_clients_count_by_network() {
        let client = "2001:db8:1:2:3:4:5:ffff";
        expect(client, 64, "2001:db8:1:2::");
        expect(client, 48, "2001:db8:1::");
        expect(client, 127, "2001:db8:1:2:3:4:5:fffe");
        expect(client, 128, client);
        expect(client, 255, client);
        expect(client, 0, "::");
    }

    #[test]
    fn ipv4_clients_count_by_address_mapped_or_not() {
        expect("192.0.2.1", 0, "192.0.2.1");
        expect("::ffff:192.0.2.1", 64, "192.0.2.1");
    }

    #[test]
    fn unix_clients_do_not_count() {
        let limits = Limits {
            max_per_ip: Some(1),
            ..Limits::default()
        };
        assert_eq!(limits.counted_ip(&Address::Unnamed), None);
        assert_eq!(limits.counted_ip(&Address::Path("socket".into())), None);
    }
}
