use super::Server;
use crate::dispatch::Fork;
use crate::listener::{Tcp, Udp, Unix, UnixDatagram};

/// TCP, each connection in a process of its own. Python's `ForkingTCPServer`. Feature `fork`.
#[doc(alias = "ForkingTCPServer")]
pub type ForkingTcpServer = Server<Tcp, Fork>;
/// UDP, each datagram in a process of its own. Python's `ForkingUDPServer`. Feature `fork`.
#[doc(alias = "ForkingUDPServer")]
pub type ForkingUdpServer = Server<Udp, Fork>;
/// Unix stream sockets, each connection in a process of its own. Feature `fork`.
pub type ForkingUnixStreamServer = Server<Unix, Fork>;
/// Unix datagram sockets, each datagram in a process of its own. Feature `fork`.
pub type ForkingUnixDatagramServer = Server<UnixDatagram, Fork>;
