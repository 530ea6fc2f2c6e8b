//! The local address of each datagram, on a socket that is bound to an unspecified address (0.0.0.0,
//! [::]). Such a socket receives what is sent to any address of the machine. By itself, the kernel sends
//! from the address that its routes select, and a client discards a reply from another address than it
//! asked. Implemented on Linux and Android.

use std::net::IpAddr;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use self::linux::{request_packet_info, send, try_recv};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use self::other::{request_packet_info, send, try_recv};

/// Where a datagram arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketInfo {
    /// Where it was sent to. This may be a broadcast or multicast address.
    pub(crate) destination: IpAddr,
    /// Where its reply leaves from. `None` lets the kernel choose.
    #[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]
    source: Option<IpAddr>,
    /// The index of the network interface, where the address is valid only on that.
    pub(crate) interface: u32,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::io;
    use std::mem;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::os::fd::AsRawFd;
    use std::ptr;

    use libc::{IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, IPV6_RECVPKTINFO};
    use libc::{c_int, c_uint, cmsghdr, in_pktinfo, in6_pktinfo, iovec, msghdr};
    use socket2::{SockAddr, Socket};

    use super::PacketInfo;
    use crate::Address;

    /// Space for the control messages of one datagram, aligned like their headers: both kinds of packet
    /// information, of 32 and 40 bytes, and what the program has asked for on a socket of its own.
    type Control = [u64; 64];

    /// Asks for the packet information of each datagram if the socket is bound to an unspecified address.
    /// Returns whether it is.
    pub(crate) fn request_packet_info(socket: &Socket) -> io::Result<bool> {
        let local = socket.local_addr()?.as_socket();
        let Some(local) = local.filter(|local| local.ip().is_unspecified()) else {
            return Ok(false);
        };
        if local.is_ipv6() {
            enable(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO)?;
        }
        // Also for the IPv4 clients of a dual-stack socket.
        enable(socket, IPPROTO_IP, IP_PKTINFO)?;
        Ok(true)
    }

    fn enable(socket: &Socket, level: c_int, option: c_int) -> io::Result<()> {
        let on: c_int = 1;
        let length = mem::size_of_val(&on) as libc::socklen_t;
        let on = (&raw const on).cast();
        // SAFETY: `on` is a valid `int` during the call.
        match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, on, length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Receives one datagram with its packet information. Fails with `WouldBlock` if there is none.
    pub(crate) fn try_recv(
        socket: &Socket,
        buffer: &mut [u8],
    ) -> io::Result<(usize, Address, Option<PacketInfo>)> {
        let mut control: Control = [0; 64];
        let mut data = iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let mut message = message(&mut data, &mut control, mem::size_of::<Control>());
        let receive = |sender: *mut _, length: *mut _| {
            message.msg_name = sender as *mut _;
            // SAFETY: `try_init` passes valid pointers, and `message` points to memory that outlives
            // the call.
            let received = unsafe {
                message.msg_namelen = *length;
                libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT)
            };
            let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
            // SAFETY: as above.
            unsafe { *length = message.msg_namelen };
            Ok(received)
        };
        // SAFETY: the kernel writes a valid address and its length.
        let (length, sender) = unsafe { SockAddr::try_init(receive)? };
        Ok((length, sender.into(), packet_info(&message)))
    }

    /// Sends one datagram from the address of `from`.
    pub(crate) fn send(
        socket: &Socket,
        data: &[u8],
        to: &SockAddr,
        from: Option<PacketInfo>,
        flags: c_int,
    ) -> io::Result<usize> {
        let flags = flags | libc::MSG_NOSIGNAL;
        let Some(source) = from.and_then(|from| from.source.zip(Some(from.interface))) else {
            // sendto(2) copies less into the kernel.
            return socket.send_to_with_flags(data, to, flags);
        };
        // One message.
        let mut control = [0; 8];
        let mut data = iovec {
            iov_base: data.as_ptr() as *mut _,
            iov_len: data.len(),
        };
        let mut message = message(&mut data, &mut control, 0);
        message.msg_name = to.as_ptr() as *mut _;
        message.msg_namelen = to.len();
        write_source(&mut message, source);
        // SAFETY: `message` points to memory that outlives the call, which only reads it.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn message(data: &mut iovec, control: &mut [u64], control_length: usize) -> msghdr {
        // SAFETY: zeroes are a valid value: null pointers and lengths of 0.
        let mut message: msghdr = unsafe { mem::zeroed() };
        message.msg_iov = data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control_length as _;
        message
    }

    /// IPv4 datagrams on an IPv6 socket have the information of both kinds; then that of IPv4 is used.
    fn packet_info(message: &msghdr) -> Option<PacketInfo> {
        let mut found = None;
        // SAFETY: the kernel has written valid control messages, whose length is in `message`.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
        while !header.is_null() {
            // SAFETY: as above. The data may be unaligned.
            unsafe {
                match ((*header).cmsg_level, (*header).cmsg_type) {
                    (IPPROTO_IP, IP_PKTINFO) => return read(header).map(ipv4),
                    (IPPROTO_IPV6, IPV6_PKTINFO) => found = read(header).map(ipv6),
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(message, header);
            }
        }
        found
    }

    /// `None` if the message was truncated, because there was no space for all messages.
    ///
    /// # Safety
    ///
    /// The control message has the length that its header says, and a `T` may have any bytes.
    unsafe fn read<T>(header: *const cmsghdr) -> Option<T> {
        // SAFETY: the length is checked first. The data may be unaligned.
        unsafe {
            let needed = libc::CMSG_LEN(mem::size_of::<T>() as c_uint) as _;
            let is_whole = (*header).cmsg_len >= needed;
            is_whole.then(|| ptr::read_unaligned(libc::CMSG_DATA(header).cast()))
        }
    }

    fn ipv4(info: in_pktinfo) -> PacketInfo {
        let address = |raw: libc::in_addr| IpAddr::from(Ipv4Addr::from(raw.s_addr.to_ne_bytes()));
        PacketInfo {
            destination: address(info.ipi_addr),
            // The kernel chooses it. After a broadcast, it is the address of the interface.
            source: Some(address(info.ipi_spec_dst)),
            interface: 0,
        }
    }

    fn ipv6(info: in6_pktinfo) -> PacketInfo {
        let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
        let is_of_interface = address.is_unicast_link_local() || address.is_multicast();
        PacketInfo {
            destination: address.into(),
            source: Some(address.into()).filter(|_| !address.is_multicast()),
            interface: if is_of_interface {
                info.ipi6_ifindex as _
            } else {
                0
            },
        }
    }

    fn write_source(message: &mut msghdr, (source, interface): (IpAddr, u32)) {
        match source {
            IpAddr::V4(address) => {
                let info = in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                write(message, IPPROTO_IP, IP_PKTINFO, info);
            }
            IpAddr::V6(address) => {
                let info = in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: address.octets(),
                    },
                    ipi6_ifindex: interface as _,
                };
                write(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
            }
        }
    }

    /// Writes the only control message.
    fn write<T>(message: &mut msghdr, level: c_int, kind: c_int, value: T) {
        let length = mem::size_of::<T>() as c_uint;
        // SAFETY: the buffer of `send` is longer than the message and aligned like its header.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(length) as _;
            let header = message.msg_control.cast::<cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast(), value);
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other {
    use std::io;

    use socket2::{SockAddr, Socket};

    use super::PacketInfo;
    use crate::{Address, sys};

    pub(crate) fn request_packet_info(_: &Socket) -> io::Result<bool> {
        Ok(false)
    }

    pub(crate) fn try_recv(
        socket: &Socket,
        buffer: &mut [u8],
    ) -> io::Result<(usize, Address, Option<PacketInfo>)> {
        let (length, sender) = sys::try_recv_from(socket, buffer)?;
        Ok((length, sender, None))
    }

    pub(crate) fn send(
        socket: &Socket,
        data: &[u8],
        to: &SockAddr,
        _: Option<PacketInfo>,
        flags: i32,
    ) -> io::Result<usize> {
        socket.send_to_with_flags(data, to, flags)
    }
}
