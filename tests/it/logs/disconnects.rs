//! Which errors mean that the client has disconnected: those of its own connection, and not the same
//! kinds from a file or another connection of the handler. They are logged at debug level, and counted.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use log::Level;
use socket2::{Domain, Socket, Type};
use socketserver::framing::{Framing, Prefix};
use socketserver::prelude::*;
use socketserver::{Address, BackgroundServer, UdpServer, UnixDatagramServer};

use support::counts::{outcomes, settled};
use support::logs::Logs;
use support::{
    ANY, connect_from, connect_unix_datagram, eventually, in_background, reset, socket_folder,
};

use super::requests::{ip, new_host};

const DISCONNECTED: ([u64; 5], Level) = ([0, 0, 0, 0, 1], Level::Debug);
const FAILED: ([u64; 5], Level) = ([0, 1, 0, 0, 0], Level::Error);

/// How the only request of a server was counted, and how its error was logged.
fn ended(server: BackgroundServer, logs: &Logs, name: &str) -> ([u64; 5], Level) {
    let counted = settled(&server.handle(), 1);
    let mut lines = logs.with(name);
    lines.retain(|(_, line)| line.starts_with("socketserver::handler: "));
    assert_eq!(lines.len(), 1, "{lines:?}");
    (outcomes(&counted), lines[0].0)
}

/// The same for a client that sends `begun`, and that `leave` closes.
fn after(
    handle: fn(&mut StreamRequest) -> HandlerResult,
    leave: impl FnOnce(TcpStream) -> Option<TcpStream>,
) -> ([u64; 5], Level) {
    let logs = Logs::from_here();
    let server = in_background(TcpServer::bind_fn(ANY, handle));
    let mut client = connect_from(new_host(), ip(&server)).expect("the server accepts");
    let address = client.local_addr().expect("the socket is connected");
    client.write_all(b"begun").expect("the kernel buffers it");
    let _client = leave(client);
    ended(server, &logs, &format!("from {address}: "))
}

fn close(client: TcpStream) -> Option<TcpStream> {
    drop(client);
    None
}

/// Reads until the client has reset the connection.
fn await_reset(request: &mut StreamRequest) -> io::Result<()> {
    match request.rfile.read_to_end(&mut Vec::new()) {
        Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => other.map(|read| panic!("the stream ended after {read} bytes")),
    }
}

#[test]
fn shutting_down_after_a_reset() {
    let handlers: [fn(&mut StreamRequest) -> HandlerResult; 2] = [
        |request| {
            await_reset(request)?;
            Ok(request.wfile.shutdown()?)
        },
        |request| {
            await_reset(request)?;
            Ok(request.connection()?.shutdown()?)
        },
    ];
    for handle in handlers {
        let left = |client: TcpStream| {
            reset(client);
            None
        };
        assert_eq!(after(handle, left), DISCONNECTED);
    }
}

const FRAMING: Framing = Framing::new(Prefix::U8);

#[test]
fn the_end_of_the_stream_inside_a_message() {
    let handlers: [fn(&mut StreamRequest) -> HandlerResult; 4] = [
        |request| Ok(request.rfile.read_exact(&mut [0; 6])?),
        // The first byte is the length, b'b', which is 98.
        |request| Ok(FRAMING.read(&mut request.rfile).map(drop)?),
        |request| {
            let read = FRAMING.read(&mut request.rfile).map(drop);
            Ok(read.map_err(io::Error::from)?)
        },
        |request| {
            let read = FRAMING.read(&mut request.rfile).map(drop);
            Ok(read.map_err(io::Error::other)?)
        },
    ];
    for handle in handlers[..3].iter().copied() {
        assert_eq!(after(handle, close), DISCONNECTED);
    }
    // A handler that gives its error another kind has the last word.
    assert_eq!(after(handlers[3], close), FAILED);
}

/// Connects to a port that nobody listens on, and that is not free either.
fn connect_in_vain() -> io::Result<()> {
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    client.connect(&bound.local_addr()?)
}

/// These clients are still there, and wait for an answer.
#[test]
fn the_same_kinds_from_elsewhere() {
    let handlers: [fn(&mut StreamRequest) -> HandlerResult; 5] = [
        |_| Ok(File::open("/dev/null")?.read_exact(&mut [0])?),
        |_| {
            let message = FRAMING.read(&mut &[9, 9, 9][..])?;
            unreachable!("{message:?}")
        },
        |_| Ok(connect_in_vain()?),
        |_| Err(io::Error::from(ErrorKind::NotConnected).into()),
        |request| {
            let _detached = request.detach();
            Ok(request.wfile.write_all(b"too late")?)
        },
    ];
    for handle in handlers {
        assert_eq!(after(handle, Some), FAILED);
        // A client that has sent all may have ended its side.
        let half_closed = |client: TcpStream| {
            // The server may have closed the connection already.
            let _ = client.shutdown(Shutdown::Write);
            Some(client)
        };
        assert_eq!(after(handle, half_closed), FAILED);
    }
}

/// The handler has served all messages, and so the client is not missed.
#[test]
fn the_end_of_a_file_after_the_last_message() {
    let handle: fn(&mut StreamRequest) -> HandlerResult = |request| {
        while request.next_line()?.is_some() {}
        Ok(File::open("/dev/null")?.read_exact(&mut [0])?)
    };
    assert_eq!(after(handle, close), FAILED);
}

type DatagramHandler = fn(&mut DatagramRequest) -> HandlerResult;

/// Replies to a client in each way.
const REPLIES: [DatagramHandler; 3] = [
    |request| Ok(request.reply(b"too late")?),
    |request| Ok(request.wfile.write_all(b"too late")?),
    |request| {
        let client = &request.client_address;
        Ok(request.socket.send_to(b"too late", client)?)
    },
];

/// How the request of a client is counted that is gone before the server replies.
fn after_reply(handle: DatagramHandler, removes_path: bool) -> ([u64; 5], Level) {
    let logs = Logs::from_here();
    let folder = socket_folder();
    let server = UnixDatagramServer::bind_fn(folder.path().join("server"), handle);
    let server = server.expect("the path is free");
    let client = connect_unix_datagram(server.server_address(), folder.path(), "client");
    client.send(b"hi").expect("the server is bound");
    drop(client);
    let path = folder.path().join("client");
    if removes_path {
        fs::remove_file(&path).expect("the client was bound");
    }
    // A process that another test has just started may have a copy of it. That is not permitted to be connected to,
    // because it has the server as its peer.
    eventually("the client is closed", || {
        let probe = UnixDatagram::unbound().expect("a descriptor is free");
        let connected = probe.connect(&path);
        let kinds = [ErrorKind::ConnectionRefused, ErrorKind::NotFound];
        connected.is_err_and(|error| kinds.contains(&error.kind()))
    });
    ended(
        in_background(Ok(server)),
        &logs,
        &format!("from {}: ", path.display()),
    )
}

#[test]
fn a_reply_to_a_datagram_client_that_is_gone() {
    for handle in REPLIES {
        assert_eq!(after_reply(handle, true), DISCONNECTED);
        assert_eq!(after_reply(handle, false), DISCONNECTED);
    }
}

#[test]
fn a_datagram_to_somebody_else_who_is_gone() {
    let handle: DatagramHandler = |request| {
        let folder = request.client_address.path().and_then(Path::parent);
        let other = folder.ok_or("the client has a path")?.join("other");
        Ok(request.socket.send_to(b"hi", &Address::Path(other))?)
    };
    assert_eq!(after_reply(handle, true), FAILED);
}

#[test]
fn a_reply_to_a_datagram_client_without_an_address() {
    for handle in REPLIES {
        let logs = Logs::from_here();
        let folder = socket_folder();
        let server = UnixDatagramServer::bind_fn(folder.path().join("server"), handle);
        let server = in_background(server);
        let path = server.server_address().path().expect("a Unix server");
        let client = UnixDatagram::unbound().expect("a descriptor is free");
        client.send_to(b"hi", path).expect("the server is bound");
        let counted = settled(&server.handle(), 1);
        assert_eq!(outcomes(&counted), DISCONNECTED.0);
        let mut lines = logs.with("cannot send 8 bytes to (unnamed)");
        lines.retain(|(level, _)| *level == Level::Error);
        assert_eq!(lines, []);
    }
}

#[test]
fn the_same_kinds_from_elsewhere_in_a_datagram_handler() {
    let handlers: [DatagramHandler; 4] = [
        |_| Ok(File::open("/no/such/file").map(drop)?),
        |_| Ok(File::open("/dev/null")?.read_exact(&mut [0])?),
        |_| Ok(connect_in_vain()?),
        |_| Err(io::Error::from(ErrorKind::AddrNotAvailable).into()),
    ];
    for handle in handlers {
        let logs = Logs::from_here();
        let server = in_background(UdpServer::bind_fn(ANY, handle));
        let client = UdpSocket::bind((new_host(), 0)).expect("a port is free");
        let sent = client.send_to(b"hi", server.server_address());
        sent.expect("the server is bound");
        let address = client.local_addr().expect("the socket is bound");
        assert_eq!(ended(server, &logs, &format!("from {address}: ")), FAILED);
    }
}
