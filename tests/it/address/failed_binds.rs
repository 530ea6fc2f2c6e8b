//! A server that could not be bound leaks no descriptor and leaves no path.

use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process;

use socketserver::Address;
use socketserver::prelude::*;

use support::child::in_child;
use support::process::descriptors;
use support::{ANY, socket_path};

/// A hook that fails after the socket is bound.
struct Fails;

impl Hooks for Fails {
    fn server_activate(&self, _: BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        Err(io::Error::other("no"))
    }
}

#[test]
fn a_thousand_failed_binds_leak_no_descriptors() {
    in_child(|| {
        let tcp = TcpListener::bind(ANY).expect("a port is free");
        let udp = UdpSocket::bind(ANY).expect("a port is free");
        let tcp_address = tcp.local_addr().expect("the socket is bound");
        let udp_address = udp.local_addr().expect("the socket is bound");
        let (folder, path) = socket_path();
        let file = folder.path().join("file");
        fs::write(&file, "file content").expect("the temporary folder is writable");

        // A failed bind connects once, to find out whether a program listens.
        tcp.set_nonblocking(true).expect("the mode can be set");

        let before = descriptors(process::id());
        for _ in 0..1024 {
            TcpServer::bind_fn(tcp_address, |_| Ok(())).expect_err("the port is in use");
            while tcp.accept().is_ok() {}
            ThreadingUdpServer::bind_fn(udp_address, |_| Ok(())).expect_err("the port is in use");
            TcpServer::bind_fn("192.0.2.1:0", |_| Ok(()))
                .expect_err("the address belongs to no local interface");
            UnixStreamServer::bind_fn(&file, |_| Ok(())).expect_err("the path is not a socket");
            UnixDatagramServer::bind_fn(&file, |_| Ok(())).expect_err("the path is not a socket");

            let builder = UnixStreamServer::builder().hooks(Fails);
            let failed = builder.bind_fn(&path, |_| Ok(()));
            failed.expect_err("the hook fails");
            assert!(!path.exists(), "the path is removed");

            let wrong = OwnedFd::from(udp.try_clone().expect("a descriptor is free"));
            let adopted = TcpServer::builder()
                .adopt(TcpListener::from(wrong), || |_: &mut StreamRequest| Ok(()));
            adopted.expect_err("the socket is not a stream socket");
        }
        assert_eq!(descriptors(process::id()), before);
    })
}
