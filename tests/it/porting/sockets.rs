//! Idioms 12 to 15 of the porting guide: the server's socket and its loop.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;
use socketserver::prelude::*;
use socketserver::{Address, HandlerError, ServerHandle};

use support::concurrent::{ConcurrentTcpServer, ConcurrentUnixStreamServer};
use support::{
    ANY, LONG, connect, connect_udp, connect_unix, connect_unix_datagram, exchange, read_all,
    socket_folder, socket_path,
};

fn hello(request: &mut StreamRequest) -> HandlerResult {
    Ok(request.wfile.write_all(b"hello")?)
}

fn echo(request: &mut DatagramRequest) -> HandlerResult {
    request.wfile = request.packet.to_vec();
    Ok(())
}

// 12. `while not self.stop: server.handle_request()`.
struct StopAtTimeout(Arc<AtomicBool>);

impl Hooks for StopAtTimeout {
    fn handle_timeout(&self, _: &ServerHandle) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn handle_request_in_a_loop_until_the_timeout() -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let server = TcpServer::builder()
        .timeout(Duration::from_millis(10))
        .hooks(StopAtTimeout(stop.clone()))
        .bind_fn(ANY, hello)?;
    let clients = [(); 3].map(|()| connect(server.server_address()));
    while !stop.load(Ordering::SeqCst) {
        server.handle_request()?;
    }
    for client in clients {
        assert_eq!(read_all(client), "hello");
    }
    Ok(())
}

// 12, second part: `select.select([server], ...)` in another loop.
#[test]
fn the_listening_socket_in_another_poll_loop() -> io::Result<()> {
    let servers = ["one", "two"].map(|name| {
        let handle = move |request: &mut StreamRequest| Ok(write!(request.wfile, "{name}")?);
        TcpServer::bind_fn(ANY, handle).expect("a port is free")
    });
    let mut sockets = servers.each_ref().map(|s| PollFd::new(s, PollFlags::IN));
    let two = connect(servers[1].server_address());
    let long = LONG.try_into().expect("the duration fits");
    assert_eq!(poll(&mut sockets, Some(&long))?, 1);
    let ready = sockets.map(|socket| socket.revents());
    assert_eq!(ready, [PollFlags::empty(), PollFlags::IN]);
    servers[1].handle_request()?;
    assert_eq!(read_all(two), "two");
    Ok(())
}

// 13. `verify_request`: an allowlist, a rate limiter.
struct Allowlist(Arc<Mutex<Vec<IpAddr>>>);

impl Hooks for Allowlist {
    fn verify_request(&self, request: &mut StreamRequest) -> Result<bool, HandlerError> {
        let ip = request.client_address.ip().ok_or("not an IP client")?;
        Ok(self.0.lock().unwrap().contains(&ip))
    }
}

#[test]
fn verify_request_as_an_allowlist() -> io::Result<()> {
    let allowed = Arc::new(Mutex::default());
    let builder = ConcurrentTcpServer::builder().hooks(Allowlist(allowed.clone()));
    let server = builder.bind_fn(ANY, hello)?.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "");
    allowed.lock().unwrap().push([127, 0, 0, 1].into());
    assert_eq!(read_all(connect(server.server_address())), "hello");
    Ok(())
}

struct RateLimit(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Hooks<DatagramRequest> for RateLimit {
    fn verify_request(&self, request: &mut DatagramRequest) -> Result<bool, HandlerError> {
        // The hook reads the datagram.
        if !request.packet.starts_with(b"?") {
            return Ok(false);
        }
        let ip = request.client_address.ip().ok_or("not an IP client")?;
        let mut clients = self.0.lock().unwrap();
        let (since, count) = clients.entry(ip).or_insert((Instant::now(), 0));
        if since.elapsed() > LONG * 10 {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        Ok(*count <= 2)
    }
}

#[test]
fn verify_request_as_a_rate_limiter_that_reads_the_datagram() -> io::Result<()> {
    let (served, packets) = crossbeam_channel::unbounded();
    let server = UdpServer::builder()
        .hooks(RateLimit(Mutex::default()))
        .bind_fn(ANY, move |request| Ok(served.send(request.packet.clone())?))?;
    let client = connect_udp(server.server_address());
    for packet in ["?1", "!2", "?3", "?4", "?5"] {
        client.send(packet.as_bytes())?;
        server.handle_request()?;
    }
    let served: Vec<_> = packets.try_iter().collect();
    assert_eq!(served, [Arc::from(*b"?1"), Arc::from(*b"?3")]);
    Ok(())
}

// 14. Overridden `server_bind`: socket options before, `os.chmod` after.
struct Private;

impl Hooks for Private {
    fn server_bind(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        SockRef::from(&socket).set_recv_buffer_size(65_536)
    }

    fn server_activate(&self, _: BorrowedFd<'_>, address: &Address) -> io::Result<()> {
        let path = address.path().expect("a Unix server has a path");
        fs::set_permissions(path, Permissions::from_mode(0o600))
    }
}

#[test]
fn options_set_before_bind_and_a_chmod_after_it() -> io::Result<()> {
    let (_folder, path) = socket_path();
    let builder = ConcurrentUnixStreamServer::builder().hooks(Private);
    let server = builder.bind_fn(&path, hello)?;
    // Linux doubles the value for its own overhead.
    let size = SockRef::from(&server).recv_buffer_size()?;
    assert!([65_536, 2 * 65_536].contains(&size), "{size}");
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    let server = server.serve_in_background()?;
    assert_eq!(read_all(connect_unix(server.server_address())), "hello");
    Ok(())
}

struct InGroup;

impl Hooks<DatagramRequest> for InGroup {
    fn server_activate(&self, socket: BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        let loopback = [127, 0, 0, 1].into();
        SockRef::from(&socket).join_multicast_v4(&[239, 255, 43, 21].into(), &loopback)
    }
}

#[test]
fn a_multicast_group_joined_after_bind() -> io::Result<()> {
    let builder = UdpServer::builder().hooks(InGroup);
    let server = builder.bind_fn(ANY, echo)?;
    // Leaving the group succeeds once, so the socket had joined it.
    let socket = SockRef::from(&server);
    let (group, loopback) = ([239, 255, 43, 21].into(), [127, 0, 0, 1].into());
    socket.leave_multicast_v4(&group, &loopback)?;
    assert!(socket.leave_multicast_v4(&group, &loopback).is_err());
    Ok(())
}

// 14, second part: `server.socket = socket.fromfd(...)`.
#[test]
fn adopting_sockets_that_were_bound_elsewhere() -> io::Result<()> {
    let inherited = TcpListener::bind(ANY)?;
    let address = inherited.local_addr()?;
    let server = ConcurrentTcpServer::builder().adopt(inherited, || hello)?;
    assert_eq!(*server.server_address(), address);
    let server = server.serve_in_background()?;
    assert_eq!(read_all(connect(server.server_address())), "hello");

    let udp = UdpServer::builder().adopt(UdpSocket::bind(ANY)?, || echo)?;
    let udp = udp.serve_in_background()?;
    let client = connect_udp(udp.server_address());
    client.send(b"packet")?;
    assert_eq!(client.recv(&mut [0; 100])?, 6);

    let folder = socket_folder();
    let path = folder.path().join("stream");
    let unix = UnixStreamServer::builder().adopt(UnixListener::bind(&path)?, || hello)?;
    let unix = unix.serve_in_background()?;
    assert_eq!(read_all(connect_unix(unix.server_address())), "hello");
    unix.stop()?;
    assert!(
        path.exists(),
        "the path of an adopted socket is not removed"
    );

    let socket = UnixDatagram::bind(folder.path().join("datagram"))?;
    let datagram = UnixDatagramServer::builder().adopt(socket, || echo)?;
    let datagram = datagram.serve_in_background()?;
    let client = connect_unix_datagram(datagram.server_address(), folder.path(), "client");
    client.send(b"packet")?;
    assert_eq!(client.recv(&mut [0; 100])?, 6);
    Ok(())
}

// 15. `service_actions` that removes idle sessions while requests are served.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<Vec<u8>, Instant>>>);

impl Hooks<DatagramRequest> for Sessions {
    fn service_actions(&self, server: &ServerHandle) -> io::Result<()> {
        let mut sessions = self.0.lock().unwrap();
        let before = sessions.len();
        sessions.retain(|_, since| since.elapsed() < Duration::from_millis(10));
        if before > 0 && sessions.is_empty() {
            server.shutdown();
        }
        Ok(())
    }
}

#[test]
fn service_actions_removes_idle_sessions() -> io::Result<()> {
    let sessions = Sessions::default();
    let started = sessions.clone();
    let server = UdpServer::builder()
        .hooks(sessions.clone())
        .poll_interval(Duration::from_millis(1))
        .bind_fn(ANY, move |request| {
            let mut sessions = started.0.lock().unwrap();
            sessions.insert(request.packet.to_vec(), Instant::now());
            Ok(())
        })?;
    let client = connect_udp(server.server_address());
    client.send(b"ada")?;
    client.send(b"grace")?;
    server.serve_forever()?;
    assert!(sessions.0.lock().unwrap().is_empty());
    Ok(())
}

/// Hooks that stand for code that watches a child process.
struct ChildHasExited;

impl Hooks for ChildHasExited {
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        Err(io::Error::other("the child has exited"))
    }
}

#[test]
fn service_actions_ends_serving_with_an_error() -> io::Result<()> {
    let builder = TcpServer::builder().hooks(ChildHasExited);
    let server = builder.poll_interval(Duration::from_millis(1));
    let server = server.bind_fn(ANY, hello)?;
    let error = server.serve_forever().unwrap_err();
    assert_eq!(error.to_string(), "the child has exited");
    Ok(())
}

#[test]
fn service_actions_runs_after_each_request() -> io::Result<()> {
    let builder = TcpServer::builder().hooks(ChildHasExited);
    let server = builder.poll_interval(LONG * 10);
    let server = server.bind_fn(ANY, |request| {
        request.rfile.readline(100)?;
        Ok(request.wfile.write_all(b"hello\n")?)
    })?;
    let client = connect(server.server_address());
    let asking = std::thread::spawn(move || exchange(client, "line\n"));
    assert!(server.serve_forever().is_err());
    assert_eq!(asking.join().expect("no panic"), "hello\n");
    Ok(())
}
