//! One trait for the four kinds of server, for tests that run with each of them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use socketserver::listener::{Bind, Tcp, Udp, Unix, UnixDatagram};
use socketserver::request::Request;
use socketserver::{Address, DatagramRequest, HandlerResult, StreamRequest};

use crate::{
    ANY, connect, connect_udp, connect_unix, connect_unix_datagram, eventually, unacknowledged,
};

/// A kind of server, and its clients.
pub trait Kind: Bind<String, Request: LineRequest> + Sized {
    type Client: Client + Send;

    /// Whether its requests are connections.
    const STREAM: bool;

    /// An address to bind a server to; Unix sockets get a path in `folder`.
    fn address(folder: &Path) -> String;

    fn connect(address: &Address) -> Self::Client;

    /// Whether the address of a closed server can be bound again.
    fn is_free(address: &Address) -> bool;

    /// Checks that the last request ended without an answer, and returns a client for the next one.
    /// For datagrams the check takes place with the next request: the first answer that arrives is
    /// the answer to that.
    fn unanswered(client: Self::Client, address: &Address) -> Self::Client;
}

/// A request whose messages and answers are lines.
pub trait LineRequest: Request {
    fn read_message(&mut self) -> io::Result<String>;
    fn write_message(&mut self, text: &str) -> io::Result<()>;
}

/// A handler that sends one message back.
pub fn echo_message<R: LineRequest>(request: &mut R) -> HandlerResult {
    let message = request.read_message()?;
    Ok(request.write_message(&message)?)
}

/// The client of a server whose messages are lines.
pub trait Client {
    /// Makes a request with as few bytes as possible.
    fn begin(&mut self);
    fn send_line(&mut self, line: &str);
    /// The next line or packet; empty at the end of the stream.
    fn receive_line(&mut self) -> String;

    fn exchange(&mut self, line: &str) -> String {
        self.send_line(line);
        self.receive_line()
    }
}

/// A kind of stream server.
pub trait StreamKind: Kind<Request = StreamRequest, Client: StreamClient> {}

impl<L: Kind<Request = StreamRequest, Client: StreamClient>> StreamKind for L {}

/// The client of a stream server.
pub trait StreamClient: Client {
    /// The socket, for a second thread.
    type Socket: Read + Write + Send + 'static;

    fn socket(&self) -> Self::Socket;

    /// Sends these bytes, without an end of a line, unless the server has closed the connection.
    fn send_part(&mut self, part: &str) {
        let _ = self.socket().write_all(part.as_bytes());
    }

    /// Ends the sending side, unless the server has closed the connection.
    fn end(&self);

    /// Waits until the server's system has everything that was sent.
    fn wait_until_received(&self);
}

impl StreamClient for Stream<TcpStream> {
    type Socket = TcpStream;

    fn socket(&self) -> TcpStream {
        let socket = self.0.get_ref().try_clone();
        socket.expect("there is a descriptor")
    }

    fn end(&self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }

    fn wait_until_received(&self) {
        eventually("the server's system has everything", || {
            unacknowledged(self.0.get_ref()) == 0
        });
    }
}

impl StreamClient for Stream<net::UnixStream> {
    type Socket = net::UnixStream;

    fn socket(&self) -> net::UnixStream {
        let socket = self.0.get_ref().try_clone();
        socket.expect("there is a descriptor")
    }

    fn end(&self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }

    /// A Unix socket delivers at once.
    fn wait_until_received(&self) {}
}

impl Kind for Tcp {
    type Client = Stream<TcpStream>;
    const STREAM: bool = true;

    fn address(_: &Path) -> String {
        ANY.to_owned()
    }

    fn connect(address: &Address) -> Self::Client {
        Stream(BufReader::new(connect(address)))
    }

    fn is_free(address: &Address) -> bool {
        let refused = TcpStream::connect(address)
            .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
        refused && TcpListener::bind(address).is_ok()
    }

    fn unanswered(mut client: Self::Client, address: &Address) -> Self::Client {
        assert_eq!(client.receive_line(), "");
        Self::connect(address)
    }
}

impl Kind for Unix {
    type Client = Stream<net::UnixStream>;
    const STREAM: bool = true;

    fn address(folder: &Path) -> String {
        folder.join("server").display().to_string()
    }

    fn connect(address: &Address) -> Self::Client {
        Stream(BufReader::new(connect_unix(address)))
    }

    fn is_free(address: &Address) -> bool {
        !address.path().expect("a Unix server has a path").exists()
    }

    fn unanswered(mut client: Self::Client, address: &Address) -> Self::Client {
        assert_eq!(client.receive_line(), "");
        Self::connect(address)
    }
}

impl Kind for Udp {
    type Client = UdpSocket;
    const STREAM: bool = false;

    fn address(_: &Path) -> String {
        ANY.to_owned()
    }

    fn connect(address: &Address) -> Self::Client {
        connect_udp(address)
    }

    fn is_free(address: &Address) -> bool {
        UdpSocket::bind(address).is_ok()
    }

    fn unanswered(client: Self::Client, _: &Address) -> Self::Client {
        client
    }
}

impl Kind for UnixDatagram {
    type Client = net::UnixDatagram;
    const STREAM: bool = false;

    fn address(folder: &Path) -> String {
        folder.join("server").display().to_string()
    }

    /// The client's socket is bound in the server's folder, so that it can receive answers.
    fn connect(address: &Address) -> Self::Client {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let name = format!("client-{}", CLIENTS.fetch_add(1, Ordering::Relaxed));
        let folder = address.path().and_then(Path::parent);
        connect_unix_datagram(address, folder.expect("the path has a parent"), &name)
    }

    fn is_free(address: &Address) -> bool {
        !address.path().expect("a Unix server has a path").exists()
    }

    fn unanswered(client: Self::Client, _: &Address) -> Self::Client {
        client
    }
}

macro_rules! line_request {
    ($request:ty) => {
        impl LineRequest for $request {
            fn read_message(&mut self) -> io::Result<String> {
                first_line(&mut self.rfile)
            }

            fn write_message(&mut self, text: &str) -> io::Result<()> {
                self.wfile.write_all(format!("{text}\n").as_bytes())
            }
        }
    };
}

line_request!(StreamRequest);
line_request!(DatagramRequest);

/// The client's side of a connection.
pub struct Stream<S>(pub BufReader<S>);

impl<S: Read + Write> Client for Stream<S> {
    /// Sends nothing, because connecting is enough. The server would reset the connection if it
    /// closed it with unread bytes.
    fn begin(&mut self) {}

    fn send_line(&mut self, line: &str) {
        let line = format!("{line}\n");
        let socket = self.0.get_mut();
        socket.write_all(line.as_bytes()).expect("the server reads");
    }

    fn receive_line(&mut self) -> String {
        first_line(&mut self.0).expect("the server answers or closes")
    }
}

macro_rules! datagram_client {
    ($socket:ty) => {
        impl Client for $socket {
            fn begin(&mut self) {
                self.send_line("begin");
            }

            fn send_line(&mut self, line: &str) {
                self.send(format!("{line}\n").as_bytes())
                    .expect("the server is bound");
            }

            fn receive_line(&mut self) -> String {
                let mut packet = [0; 100];
                let length = self.recv(&mut packet).expect("the server answers");
                first_line(&mut &packet[..length]).expect("the answer is text")
            }
        }
    };
}

datagram_client!(UdpSocket);
datagram_client!(net::UnixDatagram);

fn first_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Makes tests of each function, for each kind of server and dispatcher: `fn name<L: Kind, D:
/// Dispatch>`.
#[macro_export]
macro_rules! for_all_servers {
    ($($name:ident)*) => {
        $crate::for_each! { {$($name)*}
            tcp: Tcp, Inline;
            threading_tcp: Tcp, ThreadPool;
            unix_stream: Unix, Inline;
            threading_unix_stream: Unix, ThreadPool;
            udp: Udp, Inline;
            threading_udp: Udp, ThreadPool;
            unix_datagram: UnixDatagram, Inline;
            threading_unix_datagram: UnixDatagram, ThreadPool;
        }
        #[cfg(feature = "green")]
        $crate::for_each! { {$($name)*}
            green_tcp: Tcp, Green;
            green_unix_stream: Unix, Green;
            green_udp: Udp, Green;
            green_unix_datagram: UnixDatagram, Green;
        }
    };
}

/// The same for each kind of server: `fn name<L: Kind>`.
#[macro_export]
macro_rules! for_all_kinds {
    ($($name:ident)*) => {
        $crate::for_stream_kinds! { $($name)* }
        $crate::for_datagram_kinds! { $($name)* }
    };
}

/// The same for TCP and Unix stream servers.
#[macro_export]
macro_rules! for_stream_kinds {
    ($($name:ident)*) => {
        $crate::for_each! { {$($name)*} tcp: Tcp; unix_stream: Unix; }
    };
}

/// The same for UDP and Unix datagram servers.
#[macro_export]
macro_rules! for_datagram_kinds {
    ($($name:ident)*) => {
        $crate::for_each! { {$($name)*} udp: Udp; unix_datagram: UnixDatagram; }
    };
}

/// Makes tests of generic functions: one module for each list of types.
#[macro_export]
macro_rules! for_each {
    ($names:tt $($module:ident: $($type:ident),+;)*) => {
        $($crate::for_each! { @ $module [$($type),+] $names })*
    };
    (@ $module:ident $types:tt {$($name:ident)*}) => {
        mod $module {
            #[allow(unused_imports)]
            use socketserver::dispatch::{Inline, ThreadPool};
            #[cfg(feature = "green")]
            #[allow(unused_imports)]
            use socketserver::dispatch::Green;
            #[allow(unused_imports)]
            use socketserver::listener::{Tcp, Udp, Unix, UnixDatagram};
            #[allow(unused_imports)]
            use $crate::concurrent::Concurrent;

            $($crate::for_each! { @@ $name $types })*
        }
    };
    (@@ $name:ident [$($type:ident),+]) => {
        #[test]
        fn $name() {
            super::$name::<$($type),+>();
        }
    };
}
