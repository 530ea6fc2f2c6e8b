//! Addresses and sockets that a server cannot use: the error is of the right kind, and its
//! message names what was given and what would do.

use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use socketserver::listener;
use socketserver::prelude::*;
use socketserver::{Address, UnixDatagramServer, UnixStreamServer};

use support::{ANY, socket_folder, socket_path};

fn stream(_: &mut StreamRequest) -> HandlerResult {
    Ok(())
}

fn datagram(_: &mut DatagramRequest) -> HandlerResult {
    Ok(())
}

/// Looks for each of `words` in the message.
fn expect_error<T: Debug>(result: io::Result<T>, kind: ErrorKind, words: &[&str]) {
    let error = result.expect_err("it cannot be used");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// Binds both kinds of Unix server there.
fn expect_unix_error(path: &Path, kind: ErrorKind, words: &[&str]) {
    expect_error(UnixStreamServer::bind_fn(path, stream), kind, words);
    expect_error(UnixDatagramServer::bind_fn(path, datagram), kind, words);
}

#[test]
fn text_that_is_no_address_is_quoted() {
    for address in [
        "nonsense",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:70000",
        "::1:80:x",
        "",
    ] {
        let words = [&*format!("{address:?}"), "is not an address"];
        expect_error(
            TcpServer::bind_fn(address, stream),
            ErrorKind::InvalidInput,
            &words,
        );
        expect_error(
            UdpServer::bind_fn(address, datagram),
            ErrorKind::InvalidInput,
            &words,
        );
        let unbound = TcpServer::builder().unbound(address, || stream);
        expect_error(unbound, ErrorKind::InvalidInput, &words);
    }
}

#[test]
fn an_empty_list_of_addresses_is_an_error() {
    let none: &[SocketAddr] = &[];
    let words = ["[]", "no address"];
    expect_error(
        TcpServer::bind_fn(none, stream),
        ErrorKind::InvalidInput,
        &words,
    );
    expect_error(
        UdpServer::bind_fn(none, datagram),
        ErrorKind::InvalidInput,
        &words,
    );
}

#[test]
fn a_port_in_use_is_named() {
    let words = |address: &str| [address.to_owned(), "another port".to_owned()];
    let taken = TcpListener::bind(ANY).expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
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
    let address = taken.local_addr().expect("it is bound").to_string();
    let words = words(&address);
    let result = UdpServer::bind_fn(&*address, datagram);
    expect_error(
        result,
        ErrorKind::AddrInUse,
        &words.each_ref().map(|w| &**w),
    );
}

/// Another program listens on the port between our `bind` and our `listen`.
struct ListenFirst(Socket);

impl Hooks for ListenFirst {
    fn server_activate(&self, _: BorrowedFd<'_>, _: &Address) -> io::Result<()> {
        self.0.listen(1)
    }
}

#[test]

fn a_port_that_others_listen_on_first_is_named() {
    let other = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be had");
    other.set_reuse_address(true).expect("it is not bound yet");
    let any: SocketAddr = ANY.parse().expect("it is an address");
    other.bind(&any.into()).expect("a port is free");
    let address = other.local_addr().expect("it is bound").as_socket();
    let address = address.expect("it is an IP socket").to_string();

    let builder = TcpServer::builder().allow_reuse_address(true);
    let result = builder.hooks(ListenFirst(other)).bind_fn(&*address, stream);
    let words = [&*format!("cannot listen on {address}"), "another port"];
    expect_error(result, ErrorKind::AddrInUse, &words);
}

#[test]
fn an_address_of_no_interface_is_named() {
    // From the block that is for documentation only. Nothing is sent.
    let words = ["192.0.2.1:0", "no interface"];
    let kind = ErrorKind::AddrNotAvailable;
    expect_error(TcpServer::bind_fn("192.0.2.1:0", stream), kind, &words);
    expect_error(UdpServer::bind_fn("192.0.2.1:0", datagram), kind, &words);
}

#[test]
fn of_several_addresses_one_that_works_is_enough() {
    let addresses: [SocketAddr; 2] = ["192.0.2.1:0", ANY].map(|a| a.parse().expect("an address"));
    let server = TcpServer::bind_fn(&addresses[..], stream).expect("the second one works");
    assert_eq!(server.server_address().ip(), Some(addresses[1].ip()));
}

#[test]
fn a_path_that_is_too_long_is_named_with_its_length_and_the_limit() {
    let path = PathBuf::from(format!("/tmp/{}", "x".repeat(103)));
    let words = [
        path.to_str().expect("it is text"),
        "108 bytes",
        "107 at most",
    ];
    expect_unix_error(&path, ErrorKind::InvalidInput, &words);
}

#[test]
fn the_longest_path_works() {
    let folder = socket_folder();
    let length = 107 - folder.path().as_os_str().len() - 1;
    let path = folder.path().join("x".repeat(length));
    let server = UnixStreamServer::bind_fn(&path, stream).expect("107 bytes are not too many");
    assert_eq!(server.server_address().path(), Some(&*path));
}

#[test]
fn an_empty_path_and_one_with_a_zero_byte_are_refused() {
    expect_unix_error(Path::new(""), ErrorKind::InvalidInput, &["needs a path"]);
    let words = ["/tmp/a", "zero byte"];
    expect_unix_error(Path::new("/tmp/a\0b"), ErrorKind::InvalidInput, &words);
}

#[test]
fn a_missing_folder_is_named() {
    let folder = socket_folder();
    let path = folder.path().join("missing").join("socket");
    let words = [path.to_str().expect("it is text")];
    expect_unix_error(&path, ErrorKind::NotFound, &words);
}

#[test]
fn a_file_or_folder_of_that_name_is_left_alone() {
    let (folder, path) = socket_path();
    fs::write(&path, "precious").expect("the folder is ours");
    for path in [&*path, folder.path()] {
        let words = [path.to_str().expect("it is text"), "not a socket"];
        expect_unix_error(path, ErrorKind::AddrInUse, &words);
    }
    let kept = fs::read_to_string(&path).expect("it is still there");
    assert_eq!(kept, "precious");
}

#[test]
fn a_path_where_a_server_listens_is_left_to_it() {
    let folder = socket_folder();
    let (first, second) = (folder.path().join("stream"), folder.path().join("datagram"));
    let _stream = UnixListener::bind(&first).expect("the folder is ours");
    let _datagram = UnixDatagram::bind(&second).expect("the folder is ours");
    for path in [&first, &second] {
        let words = [
            path.to_str().expect("it is text"),
            "another program listens",
        ];
        expect_unix_error(path, ErrorKind::AddrInUse, &words);
        assert!(path.exists());
    }
}

#[test]
fn an_adopted_socket_must_be_of_the_right_kind() {
    let udp = || OwnedFd::from(UdpSocket::bind(ANY).expect("a port is free"));
    let tcp = || OwnedFd::from(TcpListener::bind(ANY).expect("a port is free"));
    let kind = ErrorKind::InvalidInput;

    let result = TcpServer::builder().adopt(TcpListener::from(udp()), || stream);
    expect_error(result, kind, &["not a stream socket"]);
    let result = UdpServer::builder().adopt(UdpSocket::from(tcp()), || datagram);
    expect_error(result, kind, &["not a datagram socket"]);

    let (folder, path) = socket_path();
    let (path, other) = (&path, folder.path().join("other"));
    let unix_datagram = UnixDatagram::bind(path).expect("the folder is ours");
    let unix_stream = UnixListener::bind(other).expect("the folder is ours");
    let socket = UnixListener::from(OwnedFd::from(unix_datagram));
    let result = UnixStreamServer::builder().adopt(socket, || stream);
    expect_error(result, kind, &["not a stream socket"]);
    let socket = UnixDatagram::from(OwnedFd::from(unix_stream));
    let result = UnixDatagramServer::builder().adopt(socket, || datagram);
    expect_error(result, kind, &["not a datagram socket"]);
    assert!(path.exists(), "a socket to adopt is not ours to remove");
}

#[test]

fn an_adopted_socket_must_be_of_the_right_family() {
    let (_folder, path) = socket_path();
    let unix = UnixListener::bind(&path).expect("the folder is ours");
    let socket = TcpListener::from(OwnedFd::from(unix));
    let result = TcpServer::builder().adopt(socket, || stream);
    expect_error(result, ErrorKind::InvalidInput, &["not an IP socket"]);

    let tcp = TcpListener::bind(ANY).expect("a port is free");
    let socket = UnixListener::from(OwnedFd::from(tcp));
    let result = UnixStreamServer::builder().adopt(listener::Unix::from(socket), || stream);
    expect_error(result, ErrorKind::InvalidInput, &["not a Unix socket"]);
}
