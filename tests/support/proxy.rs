//! A proxy or load balancer in front of a server.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{connect_from, eventually};

/// A proxy that listens on `address`. It is killed when the value is dropped.
pub struct Proxy {
    pub child: Child,
    pub address: SocketAddr,
    pub folder: TempDir,
}

impl Proxy {
    /// Starts it with a configuration, which gets the address to listen on, and waits until it listens.
    pub fn start(
        mut command: Command,
        file: &str,
        configure: impl FnOnce(SocketAddr) -> String,
    ) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let written = fs::write(folder.path().join(file), configure(address));
        written.expect("the temporary folder is writable");
        command.current_dir(folder.path()).stdin(Stdio::null());
        let proxy = Proxy {
            child: command.spawn().expect("the program can be started"),
            address,
            folder,
        };
        eventually("the proxy listens", || is_listening(address));
        proxy
    }

    /// A client of the proxy with this IP address.
    pub fn connect(&self, host: [u8; 4]) -> TcpStream {
        connect_from(IpAddr::from(host), self.address).expect("the proxy listens")
    }
}

/// Whether a program listens there. A connection to find out would be a client of the server.
fn is_listening(address: SocketAddr) -> bool {
    let listening = fs::read_to_string("/proc/net/tcp").expect("every Linux has it");
    let IpAddr::V4(ip) = address.ip() else {
        return false;
    };
    let ip = u32::from_ne_bytes(ip.octets());
    let entry = format!(" {ip:08X}:{:04X} 00000000:0000 0A ", address.port());
    listening.contains(&entry)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that a program can listen on. Other tests have no clients or servers there, so the port stays free.
pub fn free_address() -> SocketAddr {
    let socket = TcpListener::bind("127.94.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound")
}
