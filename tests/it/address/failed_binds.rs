//! A server that could not be made leaves nothing behind: no descriptor, no path.

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

/// Fails when the socket is bound already.
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
        let tcp_address = tcp.local_addr().expect("it is bound");
        let udp_address = udp.local_addr().expect("it is bound");
        let (folder, path) = socket_path();
        let file = folder.path().join("file");
        fs::write(&file, "precious").expect("the folder is ours");

        let before = descriptors(process::id());
        for _ in 0..1024 {
            TcpServer::bind_fn(tcp_address, |_| Ok(())).expect_err("it is in use");
            ThreadingUdpServer::bind_fn(udp_address, |_| Ok(())).expect_err("it is in use");
            TcpServer::bind_fn("192.0.2.1:0", |_| Ok(())).expect_err("it is not ours");
            UnixStreamServer::bind_fn(&file, |_| Ok(())).expect_err("it is no socket");
            UnixDatagramServer::bind_fn(&file, |_| Ok(())).expect_err("it is no socket");

            let builder = UnixStreamServer::builder().hooks(Fails);
            let failed = builder.bind_fn(&path, |_| Ok(()));
            failed.expect_err("the hook fails");
            assert!(!path.exists(), "it is removed");

            let wrong = OwnedFd::from(udp.try_clone().expect("a descriptor is free"));
            let adopted = TcpServer::builder()
                .adopt(TcpListener::from(wrong), || |_: &mut StreamRequest| Ok(()));
            adopted.expect_err("it is no stream socket");
        }
        assert_eq!(descriptors(process::id()), before);
    })
}
