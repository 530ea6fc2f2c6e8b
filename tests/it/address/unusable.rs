//! Addresses and sockets that a server cannot use: the error has the right kind, and its message
//! names the address and possible corrections.

use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use socketserver::listener;
use socketserver::prelude::*;
use socketserver::{Address, UnixDatagramServer, UnixStreamServer, raw_os_error};

use support::{ANY, socket_folder, socket_path};

fn stream(_: &mut StreamRequest) -> HandlerResult {
    Ok(())
}

fn datagram(_: &mut DatagramRequest) -> HandlerResult {
    Ok(())
}

/// Checks that the message contains each of `words`.
fn expect_error<T: Debug>(result: io::Result<T>, kind: ErrorKind, words: &[&str]) {
    let error = result.expect_err("the address cannot be used");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// Ports of Python programs compare the number.
#[test]
fn the_error_number_survives() {
    let number = |error: &io::Error| raw_os_error(error);
    let in_use = Some(Errno::EADDRINUSE as i32);
    let tcp = TcpListener::bind(ANY).expect("a port is free");
    let address = tcp.local_addr().expect("the socket is bound");
    let error = TcpServer::bind_fn(address, stream).expect_err("the port is in use");
    assert_eq!(number(&error), in_use);
    let wrapped = io::Error::other(error);
    assert_eq!(number(&wrapped), in_use);
    let (_folder, path) = socket_path();
    let _other = UnixListener::bind(&path).expect("the path is free");
    let error = UnixStreamServer::bind_fn(&path, stream).expect_err("the path is in use");
    assert_eq!(number(&error), in_use);
    let error = UnixStreamServer::bind_fn("/no folder/socket", stream).expect_err("no folder");
    assert_eq!(number(&error), Some(Errno::ENOENT as i32));
    let error = TcpServer::bind_fn("no address", stream).expect_err("no address");
    assert_eq!(number(&error), None);
}

/// Tries to bind both kinds of IP server to an invalid address.
fn expect_invalid<A: ToSocketAddrs + Debug + Copy>(address: A, words: &[&str]) {
    let kind = ErrorKind::InvalidInput;
    expect_error(TcpServer::bind_fn(address, stream), kind, words);
    expect_error(UdpServer::bind_fn(address, datagram), kind, words);
}

/// Tries to bind both kinds of Unix server at this path.
fn expect_unix_error(path: &Path, kind: ErrorKind, words: &[&str]) {
    expect_error(UnixStreamServer::bind_fn(path, stream), kind, words);
    expect_error(UnixDatagramServer::bind_fn(path, datagram), kind, words);
}

#[test]
fn invalid_address_text_is_quoted_in_the_error() {
    for address in [
        "invalid",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:70000",
        "::1:80:x",
        "",
    ] {
        let words = [&*format!("{address:?}"), "is not an address"];
        expect_invalid(address, &words);
        let unbound = TcpServer::builder().unbound(address, || stream);
        expect_error(unbound, ErrorKind::InvalidInput, &words);
    }
}

#[test]
fn an_empty_address_list_is_an_error() {
    let none: &[SocketAddr] = &[];
    let words = ["[]", "no address"];
    expect_invalid(none, &words);
}

#[test]
fn the_error_names_a_port_in_use() {
    let words = |address: &str| [address.to_owned(), "another port".to_owned()];
    let taken = TcpListener::bind(ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    for reuse in [false, true] {
        let builder = TcpServer::builder().allow_reuse_address(reuse);
        let result = builder.bind_fn(&*address, stream);
        let words = words(&address);
        expect_error(
            result,
            ErrorKind::AddrInUse,
            &words.each_ref().map(|w| &**w),
        );
    }
    let taken = UdpSocket::bind(ANY).expect("a port is free");
    let address = taken.local_addr().expect("the socket is bound").to_string();
    let words = words(&address);
    let result = UdpServer::bind_fn(&*address, datagram);
    expect_error(
        result,
        ErrorKind::AddrInUse,
        &words.each_ref().map(|w| &**w),
    );
}

/// A hook that simulates another program, which listens on the port between the server's `bind` and
/// `listen`.
struct ListenFirst(Socket);

impl Hooks for ListenFirst {
    fn server_activate(&self, _: BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        self.0.listen(1)
    }
}

#[test]

fn the_error_of_listen_names_the_port() {
    let other = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be created");
    other
        .set_reuse_address(true)
        .expect("the socket is not bound yet");
    let any: SocketAddr = ANY.parse().expect("the text is an address");
    other.bind(&any.into()).expect("a port is free");
    let address = other.local_addr().expect("the socket is bound").as_socket();
    let address = address.expect("the socket has an IP address").to_string();

    let builder = TcpServer::builder().allow_reuse_address(true);
    let result = builder.hooks(ListenFirst(other)).bind_fn(&*address, stream);
    let words = [&*format!("cannot listen on {address}"), "another port"];
    expect_error(result, ErrorKind::AddrInUse, &words);
}

#[test]
fn the_error_names_an_address_of_no_local_interface() {
    // 192.0.2.0/24 is for documentation only (RFC 5737). Nothing is sent.
    let words = ["192.0.2.1:0", "no interface"];
    let kind = ErrorKind::AddrNotAvailable;
    expect_error(TcpServer::bind_fn("192.0.2.1:0", stream), kind, &words);
    expect_error(UdpServer::bind_fn("192.0.2.1:0", datagram), kind, &words);
}

#[test]
fn one_usable_address_of_a_list_is_enough() {
    let addresses: [SocketAddr; 2] = ["192.0.2.1:0", ANY].map(|a| a.parse().expect("an address"));
    let server = TcpServer::bind_fn(&addresses[..], stream).expect("the second address is usable");
    assert_eq!(server.server_address().ip(), Some(addresses[1].ip()));
}

#[test]
fn the_error_of_a_long_path_names_its_length_and_the_limit() {
    let path = PathBuf::from(format!("/tmp/{}", "x".repeat(103)));
    let words = [
        path.to_str().expect("the text is UTF-8"),
        "108 bytes",
        "107 at most",
    ];
    expect_unix_error(&path, ErrorKind::InvalidInput, &words);
}

#[test]
fn a_path_of_the_maximum_length_works() {
    let folder = socket_folder();
    let length = 107 - folder.path().as_os_str().len() - 1;
    let path = folder.path().join("x".repeat(length));
    let server = UnixStreamServer::bind_fn(&path, stream).expect("107 bytes are the maximum");
    assert_eq!(server.server_address().path(), Some(&*path));
}

#[test]
fn an_empty_path_and_a_path_with_a_zero_byte_are_refused() {
    expect_unix_error(Path::new(""), ErrorKind::InvalidInput, &["needs a path"]);
    let words = ["/tmp/a", "zero byte"];
    expect_unix_error(Path::new("/tmp/a\0b"), ErrorKind::InvalidInput, &words);
}

#[test]
fn the_error_names_a_path_in_a_missing_folder() {
    let folder = socket_folder();
    let path = folder.path().join("missing").join("socket");
    let words = [path.to_str().expect("the text is UTF-8")];
    expect_unix_error(&path, ErrorKind::NotFound, &words);
}

#[test]
fn a_file_or_folder_at_the_path_is_not_replaced() {
    let (folder, path) = socket_path();
    fs::write(&path, "file content").expect("the temporary folder is writable");
    for path in [&*path, folder.path()] {
        let words = [path.to_str().expect("the text is UTF-8"), "not a socket"];
        expect_unix_error(path, ErrorKind::AddrInUse, &words);
    }
    let kept = fs::read_to_string(&path).expect("the file exists");
    assert_eq!(kept, "file content");
}

#[test]
fn a_path_in_use_by_another_server_is_not_replaced() {
    let folder = socket_folder();
    let (first, second) = (folder.path().join("stream"), folder.path().join("datagram"));
    let _stream = UnixListener::bind(&first).expect("the temporary folder is writable");
    let _datagram = UnixDatagram::bind(&second).expect("the temporary folder is writable");
    for path in [&first, &second] {
        let words = [
            path.to_str().expect("the text is UTF-8"),
            "another program listens",
        ];
        expect_unix_error(path, ErrorKind::AddrInUse, &words);
        assert!(path.exists());
    }
}

#[test]
fn an_adopted_socket_must_have_the_right_type() {
    let udp = || OwnedFd::from(UdpSocket::bind(ANY).expect("a port is free"));
    let tcp = || OwnedFd::from(TcpListener::bind(ANY).expect("a port is free"));
    let kind = ErrorKind::InvalidInput;

    let result = TcpServer::builder().adopt(TcpListener::from(udp()), || stream);
    expect_error(result, kind, &["not an IP stream socket"]);
    let result = UdpServer::builder().adopt(UdpSocket::from(tcp()), || datagram);
    expect_error(result, kind, &["not an IP datagram socket"]);

    let (folder, path) = socket_path();
    let (path, other) = (&path, folder.path().join("other"));
    let unix_datagram = UnixDatagram::bind(path).expect("the temporary folder is writable");
    let unix_stream = UnixListener::bind(other).expect("the temporary folder is writable");
    let socket = UnixListener::from(OwnedFd::from(unix_datagram));
    let result = UnixStreamServer::builder().adopt(socket, || stream);
    expect_error(result, kind, &["not a Unix stream socket"]);
    let socket = UnixDatagram::from(OwnedFd::from(unix_stream));
    let result = UnixDatagramServer::builder().adopt(socket, || datagram);
    expect_error(result, kind, &["not a Unix datagram socket"]);
    assert!(
        path.exists(),
        "the path of an adopted socket is not removed"
    );
}

#[test]

fn an_adopted_socket_must_have_the_right_address_family() {
    let (_folder, path) = socket_path();
    let unix = UnixListener::bind(&path).expect("the temporary folder is writable");
    let socket = TcpListener::from(OwnedFd::from(unix));
    let result = TcpServer::builder().adopt(socket, || stream);
    expect_error(
        result,
        ErrorKind::InvalidInput,
        &["is a Unix stream socket, not an IP stream socket"],
    );

    let tcp = TcpListener::bind(ANY).expect("a port is free");
    let socket = UnixListener::from(OwnedFd::from(tcp));
    let result = UnixStreamServer::builder().adopt(listener::Unix::from(socket), || stream);
    expect_error(
        result,
        ErrorKind::InvalidInput,
        &["is an IP stream socket, not a Unix stream socket"],
    );
}
