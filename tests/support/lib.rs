//! Code that the tests of the library share with the tests of the example packages.

pub mod certificates;
pub mod child;
pub mod concurrent;
pub mod counts;
pub mod event_log;
pub mod example;
pub mod fragmented;
pub mod gate;
pub mod generations;
pub mod handlers;
pub mod kind;
pub mod listener;
pub mod logs;
pub mod metrics_table;
pub mod pattern;
pub mod process;
pub mod program;
pub mod proxy;
pub mod python;
pub mod saturated;
pub mod systemd;
#[cfg(feature = "tls")]
pub mod tls;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use socketserver::{Address, BackgroundServer, Dispatch, Listener, Server};

/// A timeout that is longer than any test has to wait. When it expires, the test fails.
pub const LONG: Duration = Duration::from_secs(20);

/// A time that is longer than any test.
pub const HOUR: Duration = Duration::from_secs(3600);

/// A loopback address with a port that the system chooses.
pub const ANY: &str = "127.0.0.1:0";

/// Serves a server that was just bound, in a background thread.
#[track_caller]
pub fn in_background<L: Listener, D: Dispatch>(
    server: io::Result<Server<L, D>>,
) -> BackgroundServer {
    let server = server.expect("the server can be bound");
    let server = server.serve_in_background();
    server.expect("a thread can be started")
}

/// A connected TCP client whose reads and writes have a timeout.
pub fn connect(address: &Address) -> TcpStream {
    connect_to(address)
}

/// The same for the address that a program has printed.
pub fn connect_to(address: impl ToSocketAddrs) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    set_timeouts(&stream);
    stream
}

/// Sets timeouts for reads and writes, so that a test fails and does not hang.
pub fn set_timeouts(stream: &TcpStream) {
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(stream, Some(LONG)).expect("the timeout is set");
    }
}

/// A connected TCP client with this local address, such as one of 127.0.0.0/8.
pub fn connect_from(host: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    // Ports of connections that have just ended can be used again.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(host, 0).into())?;
    socket.set_read_timeout(Some(LONG))?;
    socket.set_write_timeout(Some(LONG))?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// A connected Unix client whose reads and writes have a timeout.
pub fn connect_unix(address: &Address) -> UnixStream {
    let path = address.path().expect("a Unix server has a path");
    let stream = UnixStream::connect(path).expect("the server accepts");
    stream
        .set_read_timeout(Some(LONG))
        .expect("the timeout is set");
    stream
}

/// A UDP client of the server.
pub fn connect_udp(address: &Address) -> UdpSocket {
    let socket = UdpSocket::bind(ANY).expect("a port is free");
    socket
        .connect(address)
        .expect("loopback can be connected to");
    socket
        .set_read_timeout(Some(LONG))
        .expect("the timeout is set");
    socket
}

/// A Unix datagram client. Its socket is bound in `folder`, so that it can receive answers.
pub fn connect_unix_datagram(address: &Address, folder: &Path, name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.join(name)).expect("the temporary folder is writable");
    socket
        .connect(address.path().expect("a Unix server has a path"))
        .expect("the socket is bound");
    socket
        .set_read_timeout(Some(LONG))
        .expect("the timeout is set");
    socket
}

/// Sends `text` and reads one line back.
pub fn exchange<S: Read + Write>(mut stream: S, text: &str) -> String {
    stream.write_all(text.as_bytes()).expect("the server reads");
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("the server answers");
    line
}

/// Reads up to the end of the stream.
pub fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the stream ends");
    text
}

/// Reads until this text has come.
pub fn read_until(mut stream: impl Read, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the text comes");
        read.push(byte[0].into());
    }
    read
}

/// How many bytes the other side's system has not acknowledged yet.
pub fn unacknowledged(socket: &TcpStream) -> i32 {
    nix::ioctl_read_bad!(outq, nix::libc::TIOCOUTQ, nix::libc::c_int);
    let mut bytes = 0;
    // SAFETY: the request writes one `int`.
    #[allow(unsafe_code)]
    let result = unsafe { outq(socket.as_raw_fd(), &mut bytes) };
    result.expect("the socket is open");
    bytes
}

/// Waits for the thread and returns its result. It fails if the thread does not end soon.
pub fn join_soon<T>(thread: JoinHandle<T>) -> T {
    eventually("the thread ends", || thread.is_finished());
    thread.join().expect("the thread did not panic")
}

/// Receives the next message. It fails if none is sent soon.
pub fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LONG).expect("a message is sent")
}

/// Closes the connection with a reset.
pub fn reset(socket: TcpStream) {
    let linger = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    linger.expect("the option is set");
}

/// Checks that the next read returns a reset.
pub fn assert_reset(mut stream: impl Read) {
    // A single `read` may be interrupted by a signal.
    let read = stream.read_exact(&mut [0]).map_err(|e| e.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// Polls until a condition is true, such as the end of a server's thread.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !happened() {
        assert!(
            Instant::now() < deadline,
            "timeout while waiting for this condition: {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// The number of entries in a folder.
pub fn entries(folder: &Path) -> usize {
    folder
        .read_dir()
        .expect("the temporary folder is writable")
        .count()
}

/// A temporary folder for sockets, which is removed when the value is dropped. Its path is short,
/// because the path of a socket has a maximum length.
pub fn socket_folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("ss-")
        .tempdir()
        .expect("the temporary folder is writable")
}

/// A path for a socket in a new temporary folder.
pub fn socket_path() -> (tempfile::TempDir, PathBuf) {
    let folder = socket_folder();
    let path = folder.path().join("socket");
    (folder, path)
}

/// Makes a socket file that no program listens on. While another test starts a process, that
/// process has copies of all sockets for a moment, so this function waits until the socket is
/// really closed.
pub fn stale_socket(path: &Path, is_stream: bool) {
    if is_stream {
        drop(UnixListener::bind(path).expect("the path is free"));
    } else {
        drop(UnixDatagram::bind(path).expect("the path is free"));
    }
    eventually("the socket is closed", || match is_stream {
        true => UnixStream::connect(path).is_err(),
        false => {
            let client = UnixDatagram::unbound().expect("a descriptor is free");
            client.connect(path).is_err()
        }
    });
}

/// The idioms of the porting guide. They run here because some of them use packages that the
/// library does not depend on.
#[cfg(doctest)]
#[doc = include_str!("../../src/porting/idioms/mod.md")]
#[doc = include_str!("../../src/porting/idioms/servers.md")]
#[doc = include_str!("../../src/porting/idioms/handlers.md")]
#[doc = include_str!("../../src/porting/idioms/guards.md")]
#[cfg_attr(feature = "tls", doc = include_str!("../../src/porting/idioms/tls.md"))]
#[doc = include_str!("../../src/porting/idioms/life.md")]
#[doc = include_str!("../../src/porting/idioms/connections.md")]
struct Idioms;
