//! What the tests share: those of the library, and those of the example programs that are packages.

pub mod certificates;
pub mod child;
pub mod choppy;
pub mod counts;
pub mod example;
pub mod gate;
pub mod handlers;
pub mod journal;
pub mod kind;
pub mod listener;
pub mod logs;
pub mod pattern;
pub mod process;
pub mod program;
pub mod python;
pub mod saturated;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use socketserver::{Address, BackgroundServer, Dispatch, Listener, Server};

/// Longer than anything a test waits for; running into it fails the test.
pub const LONG: Duration = Duration::from_secs(20);

/// Any loopback port.
pub const ANY: &str = "127.0.0.1:0";

/// Serves what was just bound, on a thread of its own.
#[track_caller]
pub fn in_background<L: Listener, D: Dispatch>(
    server: io::Result<Server<L, D>>,
) -> BackgroundServer {
    let server = server.expect("the server can be bound");
    let server = server.serve_in_background();
    server.expect("a thread can be started")
}

/// A connected TCP client that fails when it waits for long.
pub fn connect(address: &Address) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream
        .set_read_timeout(Some(LONG))
        .expect("a timeout can be set");
    stream
        .set_write_timeout(Some(LONG))
        .expect("a timeout can be set");
    stream
}

/// A connected TCP client with this address of its own, such as one of 127.0.0.0/8.
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

/// A connected Unix client that fails when it waits for long.
pub fn connect_unix(address: &Address) -> UnixStream {
    let path = address.path().expect("a Unix server has a path");
    let stream = UnixStream::connect(path).expect("the server accepts");
    stream
        .set_read_timeout(Some(LONG))
        .expect("a timeout can be set");
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
        .expect("a timeout can be set");
    socket
}

/// A Unix datagram client bound in `folder`, so that it can be answered.
pub fn connect_unix_datagram(address: &Address, folder: &Path, name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.join(name)).expect("the folder is ours");
    socket
        .connect(address.path().expect("a Unix server has a path"))
        .expect("it is bound");
    socket
        .set_read_timeout(Some(LONG))
        .expect("a timeout can be set");
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

/// Everything up to the end of the stream.
pub fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the stream ends");
    text
}

/// What the thread returned; fails if it does not end soon.
pub fn join_soon<T>(thread: JoinHandle<T>) -> T {
    eventually("the thread ends", || thread.is_finished());
    thread.join().expect("the thread did not panic")
}

/// The next message; fails if none is sent soon.
pub fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LONG).expect("a message is sent")
}

/// Waits for a condition that nothing notifies of, such as the end of a server's thread.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !happened() {
        assert!(Instant::now() < deadline, "it does not happen: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// How many things are in a folder.
pub fn entries(folder: &Path) -> usize {
    folder.read_dir().expect("the folder is ours").count()
}

/// A folder for sockets, gone with the value. Its path is short, as sockets' must be.
pub fn socket_folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("ss-")
        .tempdir()
        .expect("the temporary folder is writable")
}

/// A path for a socket in a folder of its own.
pub fn socket_path() -> (tempfile::TempDir, PathBuf) {
    let folder = socket_folder();
    let path = folder.path().join("socket");
    (folder, path)
}

/// Makes a socket file that no program listens on. A process that another test is starting holds all
/// sockets of this one for a moment, so this waits until the socket is really closed.
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

/// The idioms of the porting guide. Some of them use packages that the library does not depend on, so
/// they run here.
#[cfg(doctest)]
#[doc = include_str!("../../src/porting/idioms/mod.md")]
#[doc = include_str!("../../src/porting/idioms/servers.md")]
#[doc = include_str!("../../src/porting/idioms/handlers.md")]
#[doc = include_str!("../../src/porting/idioms/guards.md")]
#[doc = include_str!("../../src/porting/idioms/tls.md")]
#[doc = include_str!("../../src/porting/idioms/life.md")]
#[doc = include_str!("../../src/porting/idioms/connections.md")]
struct Idioms;
